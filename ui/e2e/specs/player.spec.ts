import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { visit, world } from '../world/browser';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

/** Where the player is, in seconds, and how long the recording is. */
const place = (page: Page): Promise<{ at: number; length: number }> =>
  page.locator('.time input').evaluate((hand: HTMLInputElement) => ({ at: Number(hand.value) / 1e6, length: Number(hand.max) / 1e6 }));

/** Waits until the player is about there. */
async function at(page: Page, wanted: number, what: string): Promise<void> {
  await until(`${what}: ${wanted} s`, async () => (Math.abs((await place(page)).at - wanted) < 0.4 ? true : undefined), 15_000);
}

test('a recording is played by keys alone', async () => {
  const works = await visit('nodes', { cookie: world.vendor });
  await open(works);
  await type(works, 'clear; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo tick-$n-$((n*n)); sleep 1; done');
  await shows(works, /^tick-12-144$/m, 60_000);
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();

  const page = await visit('recordings', { cookie: world.admin });
  await page.getByRole('row').filter({ hasText: /vic.*Complete/ }).first().focus();
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
  await page.keyboard.type('0:03');
  await keys('Enter');
  await at(page, 3, 'a time');

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
  await keys('Enter');
  await until('the find', async () => { const now = (await place(page)).at; return now > 3 && now < 10 ? true : undefined; });
  await page.locator('.xterm-screen').waitFor();
  await keys('Home', 'n');
  await until('the find', async () => { const now = (await place(page)).at; return now > 3 && now < 10 ? true : undefined; });
  await keys('End', 'N');
  await until('the find again', async () => { const now = (await place(page)).at; return now > 3 && now < 10 ? true : undefined; });

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
  await page.getByRole('row').filter({ hasText: /vic.*Complete/ }).first().click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.keyboard.press('k');
  await page.keyboard.press('g');
  await page.keyboard.type('0:04');
  await page.keyboard.press('Enter');
  await at(page, 4, 'a time');
  await page.getByRole('button', { name: 'Link to this moment' }).click();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  expect(link).toContain('t=4.0');

  const there = await visit('account', { cookie: world.admin });
  await there.goto(link);
  await there.locator('.time input').waitFor();

  await at(there, 4, 'the linked moment');
  await shows(there, /^tick-1-1$/m);
  expect(await text(there)).not.toContain('tick-9');
});
