import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { somebody, visit, world } from '../world/browser';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

/** Where the player is, in seconds, and how long the recording is. */
const place = (page: Page): Promise<{ at: number; length: number }> =>
  page.locator('.time input').evaluate((hand: HTMLInputElement) => ({ at: Number(hand.value) / 1e6, length: Number(hand.max) / 1e6 }));

const row = (page: Page) => page.getByRole('row').filter({ hasText: new RegExp(`${who}.*Complete`) });

/** Waits until the player is about there. */
async function at(page: Page, wanted: number, what: string): Promise<void> {
  await until(`${what}: ${wanted} s`, async () => (Math.abs((await place(page)).at - wanted) < 0.4 ? true : undefined));
}

/** Whose recording it is: others make some, too. */
let who = '';

test('a recording is played by keys alone', async () => {
  const somebodys = await somebody('vendor');
  who = somebodys.name;
  const works = await visit('nodes', { cookie: await somebodys.cookie(world.port) });
  await open(works);
  await type(works, 'clear; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo tick-$n-$((n*n)); sleep 1; done');
  await shows(works, /^tick-12-144$/m);
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();

  const page = await visit('recordings', { cookie: world.admin });
  await row(page).focus();
  await page.keyboard.press('Enter');
  await page.locator('.time input').waitFor();
  const keys = async (...all: string[]) => { for (const key of all) await page.keyboard.press(key); };
  const button = (name: string) => page.getByRole('button', { name, exact: true });
  await button('Pause').waitFor();
  await keys('k');
  await button('Play').waitFor();

  await keys('Home');
  await at(page, 0, 'Home');
  const { length } = await place(page);
  expect(length).toBeGreaterThan(12);
  await keys('ArrowRight');
  await at(page, 5, 'right');
  await keys('l');
  await at(page, Math.min(length, 15), 'l');
  await keys('j', 'ArrowLeft', 'ArrowLeft');
  await at(page, 0, 'j and left twice');
  await keys('Shift+ArrowRight');
  await at(page, length, 'shift and right');
  await keys('J');
  await at(page, 0, 'J');
  await keys('5');
  await at(page, length / 2, 'five tenths');
  expect(await text(page)).not.toContain('tick-12');
  await keys('g');
  await page.keyboard.type('soon');
  await keys('Enter');
  await page.getByRole('alert').getByText('Not a time').waitFor();
  await keys('Control+a');
  await page.keyboard.type('0:05');
  await keys('Enter');
  await at(page, 5, 'a time');
  await keys('g');
  await page.keyboard.type('0:03');
  await keys('Enter');
  await at(page, 3, 'another time, typed over the first');

  const before = (await place(page)).at;
  await keys('.');
  await until('one write on', async () => ((await place(page)).at > before ? true : undefined));
  await keys(',');
  await until('one write back', async () => ((await place(page)).at <= before ? true : undefined));
  const speed = page.getByLabel('Speed');
  await keys('>');
  await until('faster', async () => ((await speed.inputValue()) === '2' ? true : undefined));
  await keys('<', '<');
  await until('slower', async () => ((await speed.inputValue()) === '0.5' ? true : undefined));
  const idle = page.getByLabel('Skip idle time');
  const skipped = await idle.isChecked();
  await keys('i');
  expect(await idle.isChecked()).toBe(!skipped);

  await keys('Home', 'm');
  await until('the first mark', async () => ((await place(page)).at >= 0 ? true : undefined));
  await keys('c');
  await page.getByRole('complementary', { name: 'Commands' }).getByRole('button', { name: /for n in/ }).waitFor();
  await keys('c', '/');
  await page.waitForFunction(() => document.activeElement?.matches('input[type=search]'));
  await page.keyboard.type('tick-9-81');
  await page.getByText('1 find', { exact: true }).waitFor();
  const here = (await place(page)).at;
  await keys('Enter');
  // Three seconds before the ninth tick, wherever a slow machine made that: six ticks are before it, and three after.
  const find = await until('the find', async () => { const now = (await place(page)).at; return now !== here && now > 4 && now < length - 5 ? now : undefined; });
  await page.locator('.xterm-screen').waitFor();
  await keys('Home', 'n');
  await at(page, find, 'the find');
  await keys('End', 'N');
  await at(page, find, 'the find again');

  await keys('a');
  await page.getByText(/\d{4}.*\d{2}:\d{2}.* \/ .*\d{2}:\d{2}/).waitFor();
  await keys('f');
  await page.waitForFunction(() => document.fullscreenElement !== null);
  await keys('f');
  await page.waitForFunction(() => document.fullscreenElement === null);
  await keys('?');
  await page.getByRole('dialog').getByText('play and pause').waitFor();
  await keys('Escape');
  await page.waitForFunction(() => !document.activeElement?.closest('dialog'));
  await keys(' ');
  await button('Pause').waitFor();
  await keys('End');
  await shows(page, /^tick-12-144$/m);
});

test('a moment is a link', async () => {
  const page = await visit('recordings', { cookie: world.admin });
  await row(page).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.keyboard.press('k');
  // Where a slow machine has made the first tick is asked of the recording: three seconds before the sixth.
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement?.matches('input[type=search]'));
  await page.keyboard.type('tick-6-36');
  await page.getByText('1 find', { exact: true }).waitFor();
  await page.keyboard.press('Home');
  await page.keyboard.press('Enter');
  const moment = 1 + Math.ceil(await until('the find', async () => { const now = (await place(page)).at; return now > 0 ? now : undefined; }));
  await page.keyboard.press('g');
  await page.waitForFunction(() => document.activeElement?.closest('dialog'));
  await page.keyboard.type(`0:${String(moment).padStart(2, '0')}`);
  await page.keyboard.press('Enter');
  await at(page, moment, 'a time');
  await page.getByRole('button', { name: 'Link to this moment' }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).toContain(`t=${moment}.0`);

  const there = await visit('account', { cookie: world.admin });
  await there.goto(link);
  await there.locator('.time input').waitFor();

  await at(there, moment, 'the linked moment');
  await shows(there, /^tick-1-1$/m);
  expect(await text(there)).not.toContain('tick-9');
});
