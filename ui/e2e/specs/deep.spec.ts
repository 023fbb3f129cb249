// Places that are about one thing, which no address of the menu leads to: what axe says of them, and that they fit.
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { mctl, somebody, visit, world, type Wishes } from '../world/browser';
import { serious, seriousInAnyTheme } from '../world/axe';
import { settled } from '../world/page';
import { open, shows, type } from '../world/terminal';

const admin = { cookie: world.admin };
let recording = '';

/** Where it is, how to get there, and when it is there. */
const DEEP: [string, (wishes: Wishes) => Promise<Page>][] = [
  ['signing in', async (wishes) => {
    const page = await visit('nodes', { ...wishes, cookie: undefined });
    await settled(page);
    return page;
  }],
  ['an invite', async (wishes) => {
    const { secret } = JSON.parse(mctl(['users', 'add', `axe-${Math.random().toString(36).slice(2, 10)}`, '--roles=access', '--logins=root', '--format=json'])) as { secret: string };
    const page = await visit('nodes', { ...wishes, cookie: undefined });
    await page.goto(`https://127.0.0.1:${world.front}/web/invite/${secret}`);
    await page.locator('svg, img[src^="data:"]').first().waitFor();
    return page;
  }],
  ['a link that is used up', async (wishes) => {
    const page = await visit('nodes', { ...wishes, cookie: undefined, expected: /status of 404/ });
    await page.goto(`https://127.0.0.1:${world.front}/web/invite/0123456789abcdef0123456789abcdef`);
    await page.locator('h1:visible').waitFor();
    return page;
  }],
  ['the ways into a node', async (wishes) => {
    const page = await visit('nodes', { ...admin, ...wishes });
    await page.getByRole('button', { name: /(Connect to|连接到) ?gpu-1/ }).click();
    await page.locator('dialog[open]').waitFor();
    return page;
  }],
  ['a terminal', async (wishes) => {
    const page = await visit('nodes', { ...admin, ...wishes });
    await open(page);
    return page;
  }],
  ['files', async (wishes) => {
    const page = await visit('nodes', { ...admin, ...wishes });
    await page.getByRole('button', { name: /(Connect to|连接到) ?gpu-1/ }).click();
    await page.getByRole('dialog').getByRole('link', { name: /^(Files|文件)$/ }).click();
    await page.getByRole('button', { name: /^(Upload|上传)/ }).waitFor();
    return page;
  }],
  ['a recording', async (wishes) => {
    const page = await visit(`recordings/${recording}`, { ...admin, ...wishes });
    await page.getByRole('button', { name: /^(Play|Pause|播放|暂停)$/ }).waitFor();
    await page.keyboard.press('c');
    await page.locator('aside').waitFor();
    return page;
  }],
  ['a transcript', async (wishes) => {
    const page = await visit(`recordings/${recording}`, { ...admin, ...wishes });
    await page.locator('.time input').waitFor();
    await page.keyboard.press('t');
    await page.locator('.transcript').waitFor();
    return page;
  }],
  ['the keys of the player', async (wishes) => {
    const page = await visit(`recordings/${recording}`, { ...admin, ...wishes });
    await page.locator('.time input').waitFor();
    await page.keyboard.press('?');
    await page.locator('dialog[open]').waitFor();
    return page;
  }],
  ['nothing', async (wishes) => {
    const page = await visit('no-such-place', { ...admin, ...wishes });
    await page.locator('main strong').first().waitFor();
    return page;
  }],
];

test('there is a recording to look at', async () => {
  // Of somebody whose one session it is: what others leave may have no screen.
  const who = await somebody('vendor');
  const page = await visit('nodes', { cookie: await who.cookie(world.port) });
  await open(page);
  await type(page, 'echo to-look-at-$((1))');
  await shows(page, /^to-look-at-1$/m);
  await type(page, 'exit');
  await page.getByText('The session has ended').waitFor();
  await expect.poll(() => {
    const all = JSON.parse(mctl(['recordings', 'ls', '--format=json'])) as { id: string; state: string; user: string }[];
    recording = all.find((one) => one.state === 'complete' && one.user === who.name)?.id ?? '';
    return recording;
  }).not.toBe('');
});

test.each(DEEP)('%s has nothing that axe finds serious, in any theme', async (_, go) => {
  expect(await seriousInAnyTheme(await go({}))).toEqual([]);
});

test.each(DEEP)('%s has no English sentence for who reads Chinese', async (_, go) => {
  const page = await go({ language: 'zh-CN' });

  const seen = await page.evaluate(() => {
    const found: string[] = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      const parent = node.parentElement;
      if (parent?.offsetParent && !parent.closest('code, pre, .mono, kbd, [lang=en], .xterm, .transcript, aside, td')) found.push(node.textContent?.trim() ?? '');
    }
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      for (const element of document.querySelectorAll(`[${name}]`)) if (!element.closest('.xterm')) found.push(element.getAttribute(name)?.trim() ?? '');
    }
    return found;
  });

  expect(seen.filter((text) => /[a-z]+ [a-z]+ [a-z]+/.test(text))).toEqual([]);
});

test.each(DEEP)('%s fits a narrow window: no sideways scrolling of the page', async (_, go) => {
  const page = await go({ width: 320, height: 640 });

  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  expect(wide).toBeLessThanOrEqual(seen!);
});

test('a picture that stays larger than its place is moved by keyboard', async () => {
  const page = await visit(`recordings/${recording}`, { ...admin, width: 320, height: 640 });
  const stage = page.getByRole('group', { name: 'Screen' });
  await page.locator('.stage[tabindex="0"]').waitFor();

  expect(await serious(page)).toEqual([]);
  await stage.focus();
  await page.keyboard.press('ArrowRight');
  await expect.poll(() => stage.evaluate((box) => box.scrollLeft)).toBeGreaterThan(0);

  await page.setViewportSize({ width: 1280, height: 800 });
  await page.locator('.stage:not([tabindex])').waitFor();
});
