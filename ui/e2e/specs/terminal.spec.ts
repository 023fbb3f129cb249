import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CDPSession } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import { serious } from '../world/axe';
import { tools, visit, world } from '../world/browser';
import { DIRECTIVES, Front } from '../world/front';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

/** An input method at work: a composition that is shown, changed and then committed. */
async function compose(chrome: CDPSession, steps: string[], result: string): Promise<void> {
  for (const step of steps) {
    await chrome.send('Input.dispatchKeyEvent', { type: 'rawKeyDown', windowsVirtualKeyCode: 229, key: 'Process' });
    await chrome.send('Input.imeSetComposition', { text: step, selectionStart: step.length, selectionEnd: step.length });
  }
  await chrome.send('Input.insertText', { text: result });
}

test('an input method types Chinese, and a screen reader is given the rows when asked', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page, 'gpu-2');
  const chrome = await tools(page);

  await page.keyboard.type('said="');
  await compose(chrome, ['n', 'ni', 'nihao'], '你好');
  await shows(page, /said="你好$/m);
  await type(page, '"; echo $said-$((40 + 2))');
  await shows(page, /^你好-42$/m);

  await page.getByRole('button', { name: 'Screen reader' }).click();
  await page.locator('.xterm-accessibility').getByText('你好-42').waitFor();
});

test('the shell has the size of the window', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);

  await type(page, 'stty size; echo done-1');
  const before = /^(\d+) (\d+)\s+done-1$/m.exec(await shows(page, /^done-1$/m))!;
  await page.setViewportSize({ width: 900, height: 500 });
  await until('a smaller shell', async () => {
    await type(page, 'clear; stty size; echo done-2');
    const after = /^(\d+) (\d+)\s+done-2$/m.exec(await shows(page, /^done-2$/m))!;
    return Number(after[1]) < Number(before[1]) && Number(after[2]) < Number(before[2]) ? true : undefined;
  });
});

test('a flood neither freezes the page nor grows it, and Ctrl-C ends it', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);
  const chrome = await tools(page);
  const heap = async () => {
    await chrome.send('HeapProfiler.collectGarbage');
    return (await chrome.send('Runtime.getHeapUsage')).usedSize;
  };

  await type(page, 'yes "the quick brown fox jumps over the lazy dog"');
  await shows(page, /lazy dog\nthe quick/);
  const before = await heap();
  // The page answers while it floods: a hundred turns of its event loop.
  const turns = await page.evaluate(async () => {
    for (let i = 0; i < 100; i += 1) await new Promise((done) => setTimeout(done));
    return 100;
  });
  await type(page, '');
  const after = await heap();
  await page.keyboard.press('Control+c');
  await type(page, 'clear; echo still-$((1 + 1))-here');

  await shows(page, /^still-2-here$/m);
  expect(turns).toBe(100);
  expect(after - before).toBeLessThan(24 * 1024 * 1024);
});

test('a big file goes by whole and the shell is there afterwards', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);

  await type(page, 'head -c 8000000 /dev/zero | tr "\\0" x | fold -w 100; echo; echo whole-$((6 * 7))');

  await shows(page, /^whole-42$/m);
});

test('after the network drops the same shell is there, with what it said meanwhile', async () => {
  const front = await Front.start(DIRECTIVES(world.port));
  onTestFinished(() => front.stop());
  const page = await visit('nodes', { cookie: world.vendor, port: front.port, expected: /ERR_CONNECTION|WebSocket connection|status of 50/ });
  await open(page);
  const go = join(front.dir, 'go');
  await type(page, `kept=$$; echo first-$kept; until [ -e ${go} ]; do sleep 0.1; done; echo meanwhile; touch ${go}-on`);
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1];

  await front.down();
  await page.getByText('Connection lost. Coming back').waitFor();
  writeFileSync(go, '');
  await until('the shell to go on', () => existsSync(`${go}-on`) || undefined);
  await front.up();

  await shows(page, /^meanwhile$/m);
  await page.locator('footer [role=status].good').waitFor();
  await type(page, 'echo "same-$kept-$$"');
  expect(await shows(page, /^same-\d+-\d+$/m)).toContain(`same-${shell}-${shell}`);
});

test('what is typed as the way to the gate breaks arrives when it is back, and once', async () => {
  const front = await Front.start(DIRECTIVES(world.port));
  onTestFinished(() => front.stop());
  const page = await visit('nodes', { cookie: world.vendor, port: front.port, expected: /ERR_CONNECTION|WebSocket connection|status of 50/ });
  await open(page);
  await type(page, 'clear; echo before-$((1))');
  await shows(page, /^before-1$/m);

  // It takes what comes and hands nothing on; then it is gone with it.
  front.freeze();
  await type(page, 'echo lost-and-$((1 + 1))');
  await page.getByText('Stalled: the gate does not answer').waitFor();
  await front.down();
  await page.getByText('Connection lost. Coming back').waitFor();
  await page.keyboard.type('echo then-');
  await front.up();

  await shows(page, /^lost-and-2$/m);
  await type(page, '$((2 + 1))');
  expect((await shows(page, /^then-3$/m)).match(/^lost-and-2$/gm)).toHaveLength(1);
});

test('many lines are shown before they are pasted, and what runs there cannot write the clipboard', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);
  await page.evaluate(() => navigator.clipboard.writeText('echo many\n'.repeat(100)));
  await page.keyboard.press('Control+Shift+v');
  await page.locator('dialog pre[tabindex="0"]').waitFor();
  expect(await serious(page)).toEqual([]);
  await page.getByRole('button', { name: 'Do not', exact: true }).click();
  await page.evaluate(() => navigator.clipboard.writeText('echo one-$((1))\necho two-$((2))\n'));

  await page.keyboard.press('Control+Shift+v');
  await page.getByRole('dialog').getByText('Paste 2 lines?').waitFor();
  expect(await text(page)).not.toContain('one-1');
  await page.getByRole('button', { name: 'Paste', exact: true }).click();
  await shows(page, /echo two/);
  await page.keyboard.press('Enter');
  await shows(page, /^one-1$/m);
  await shows(page, /^two-2$/m);

  await type(page, "printf '\\033]52;c;%s\\007' $(echo stolen | base64); echo sent-$((3))");
  await shows(page, /^sent-3$/m);
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('one');
});

test('a paste larger than what may be on its way arrives whole', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);
  await type(page, 'stty raw -echo; echo ready-$((1)); head -c 700000 | tr -d x | wc -c; stty sane');
  await shows(page, /ready-1$/m);
  await page.evaluate(() => navigator.clipboard.writeText('x'.repeat(699_990) + 'y'.repeat(10)));

  await page.keyboard.press('Control+Shift+v');

  await shows(page, /^ *10$/m);
});

test('terminals are side by side, say by which way they come, and one alone again', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page, 'gpu-2');
  await page.getByText('WebSocket → gate → websocket → gpu-2').waitFor();
  await page.getByText(/signed in for \d+ h \d+ min more/).waitFor();

  await page.getByRole('button', { name: 'Split' }).click();
  await until('two shells', async () => ((await text(page)).match(/[#$] *$/gm)?.length === 2 ? true : undefined));
  expect(await page.getByRole('tab').count()).toBe(2);
  await type(page, 'echo right-$((1))');
  await shows(page, /^right-1$/m);
  await page.getByRole('tab').first().click();
  await page.waitForFunction(() => document.activeElement === document.querySelector('.xterm-helper-textarea'));
  await type(page, 'echo left-$((2))');
  await shows(page, /^left-2$[^]*^right-1$/m);

  await page.getByRole('button', { name: 'Only this one' }).first().click();
  expect(await shows(page, /left-2/)).not.toContain('right-1');
});
