import axe from 'axe-core';
import { expect, test } from 'vitest';
import { en as files } from '../../src/files/words-en';
import { zh as filesZh } from '../../src/files/words-zh';
import { en as operate } from '../../src/more/operate-en';
import { zh as operateZh } from '../../src/more/operate-zh';
import { en as more } from '../../src/more/words-en';
import { zh as moreZh } from '../../src/more/words-zh';
import { en } from '../../src/text/en';
import { en as told } from '../../src/told/words-en';
import { zh as toldZh } from '../../src/told/words-zh';
import { zh } from '../../src/text/zh';
import { visit, world } from '../world/browser';
import { settled } from '../world/page';
import { PLACES } from '../world/places';
import type { Page } from 'playwright-core';

const ENGLISH: Record<string, string> = { ...en, ...more, ...operate, ...files, ...told };
const CHINESE: Record<string, string> = { ...zh, ...moreZh, ...operateZh, ...filesZh, ...toldZh };

/** Whatever is not data: a key that has no words, an English sentence, words of the English catalogue. */
async function untranslated(page: Page): Promise<string[]> {
  const seen = await page.evaluate(() => {
    const found: string[] = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      const parent = node.parentElement;
      if (!parent?.offsetParent || parent.closest('code, pre, .mono, kbd, [lang=en], .xterm, td strong, textarea, .name')) continue;
      found.push(node.textContent?.trim() ?? '');
    }
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) {
      for (const element of document.querySelectorAll(`[${name}]`)) {
        if (!element.closest('.xterm, [lang=en]')) found.push(element.getAttribute(name)?.trim() ?? '');
      }
    }
    return found.filter(Boolean);
  });
  const words = new Set(Object.entries(ENGLISH).filter(([key, text]) => text !== CHINESE[key]).map(([, text]) => text));
  return [...new Set(seen)].filter((text) => words.has(text) || text in ENGLISH || /[a-z]+ [a-z]+ [a-z]+/.test(text));
}

async function serious(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() => (window as unknown as { axe: typeof axe }).axe.run(document, { resultTypes: ['violations'] }));
  return found.violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).join(', ')}`);
}

test.each(PLACES)('%s speaks Chinese alone when asked to, and English otherwise', async (place) => {
  const page = await visit(place, { cookie: world.admin, language: 'zh-CN' });
  await settled(page);

  expect(await untranslated(page)).toEqual([]);
  expect(await page.locator('html').getAttribute('lang')).toBe('zh-CN');

  await page.locator('header summary').click();
  await page.getByLabel('语言').selectOption('en');
  await page.getByRole('navigation', { name: 'Places' }).waitFor();
  await expect.poll(() => page.evaluate(() => document.body.innerText.replace('简体中文', '').match(/[\u4e00-\u9fff]+/g))).toBeNull();
});

test('a place whose part of the app is still on its way is not said to be empty', async () => {
  const page = await visit('recordings', { cookie: world.admin });
  let arrive = () => {};
  const here = new Promise<void>((done) => (arrive = done));
  await page.route('**/more/more-*.js', async (route) => {
    await here;
    await route.continue();
  });
  await page.reload();
  await page.getByRole('navigation', { name: 'Places' }).waitFor();

  await page.locator('main .empty').getByText(en['app.loading']).waitFor();
  arrive();
  await page.getByRole('heading', { name: 'Recordings' }).waitFor();
});

test.each([
  ['recordings', '**/more/more-*.js', 'Recordings'],
  ['account', '**/Account-*.js', 'Account'],
])('a part of the app that the gate no longer has is said to be missing: %s', async (place, part, title) => {
  const page = await visit(place, { cookie: world.admin, expected: /404|dynamically imported module/ });
  await settled(page);
  await page.route(part, (route) => route.fulfill({ status: 404 }));
  await page.reload();

  const said = page.getByRole('alert').filter({ hasText: en['app.missing'] });
  await said.waitFor();
  expect(await page.getByText(en['app.loading']).count()).toBe(0);
  await page.unroute(part);
  await said.getByRole('button', { name: en['app.reload'] }).click();
  await page.getByRole('heading', { name: title }).first().waitFor();
  expect(await said.count()).toBe(0);
});

test('the sign-in page speaks Chinese alone when asked to', async () => {
  const page = await visit('nodes', { language: 'zh-CN' });
  await settled(page);

  expect(await untranslated(page)).toEqual([]);
});

test.each(PLACES)('%s has nothing that axe finds serious, in any theme', async (place) => {
  const page = await visit(place, { cookie: world.admin });
  await settled(page);

  for (const theme of ['light', 'dark', 'contrast']) {
    await page.evaluate((name) => (document.documentElement.dataset['theme'] = name), theme);
    expect(await serious(page), theme).toEqual([]);
  }
});

test.each(PLACES)('%s fits a narrow window: no sideways scrolling of the page', async (place) => {
  const page = await visit(place, { cookie: world.admin, width: 320, height: 640 });
  await settled(page);

  const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  expect(wide).toBeLessThanOrEqual(seen!);
});
