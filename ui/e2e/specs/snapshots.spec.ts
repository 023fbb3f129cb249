// What every place says to somebody who hears it, in both languages, against the text kept in `snapshots/`. Renew what was
// changed on purpose with `cargo xtask e2e browser snapshots --update`, and read the difference before it is committed.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { visit } from '../world/browser';
import { Gate } from '../world/gate';
import { settled } from '../world/page';
import { PLACES } from '../world/places';
import { told, type Cut } from '../world/snapshot';
import { open } from '../world/terminal';

const LANGUAGES = ['en', 'zh-CN'] as const;
type Language = (typeof LANGUAGES)[number];
const folder = (language: Language) => join(import.meta.dirname, 'snapshots', language);
/** What is there last when a place is drawn; elsewhere that it is settled is enough. */
const LAST: Record<string, string> = {
  nodes: 'tbody tr', account: 'main section ~ section li', live: 'tbody tr', recordings: 'tbody tr', events: 'tbody tr', users: 'tbody tr', fleet: 'tbody tr',
  tokens: 'tbody tr', roles: 'main pre',
};
/** Whose first row is the same in every run. */
const SAME = ['nodes', 'live', 'users', 'fleet', 'tokens'];
const seen = { en: new Map<string, string>(), 'zh-CN': new Map<string, string>() };

/** A gate of its own: what other specs leave behind would be told, too. */
let gate: Gate;
let admin = '';
beforeAll(async () => {
  gate = await Gate.start();
  admin = await (await gate.person('ann', 'admin')).cookie(gate.port);
});
afterAll(async () => gate?.stop());

async function same(page: Page, language: Language, name: string, keep: Partial<Cut> = {}): Promise<void> {
  const text = await told(page, { frame: false, row: false, ...keep });
  seen[language].set(name, text);
  await expect.soft(text).toMatchFileSnapshot(join(folder(language), `${name}.txt`), `${language}/${name}`);
}

async function arrive(place: string, language: Language, cookie?: string): Promise<Page> {
  const page = await visit(place, { port: gate.port, language, ...(cookie && { cookie }) });
  await settled(page);
  return page;
}

describe.each(LANGUAGES)('before anything is done, %s', (language) => {
  test('signing in', async () => same(await arrive('nodes', language), language, 'sign-in', { frame: true }));

  test('an invite', async () => {
    const { secret } = JSON.parse(gate.mctl(['users', 'add', `guest-${language.toLowerCase()}`, '--roles=access', '--format=json'])) as { secret: string };
    const page = await arrive('nodes', language);
    await page.goto(`https://127.0.0.1:${gate.port}/web/invite/${secret}`);
    await page.locator('#picture').waitFor();
    await same(page, language, 'invite');
  });

  test.each(['live', 'recordings'])('%s, where there is none', async (place) => {
    const page = await arrive(place, language, admin);
    await page.locator('main .empty strong').waitFor();
    await same(page, language, `${place}-none`);
  });
});

test('every place, while somebody works, and the lock', async () => {
  const vendor = await (await gate.person('vic', 'vendor')).cookie(gate.port);
  await open(await arrive('nodes', 'en', vendor));
  for (const language of LANGUAGES) {
    const page = await arrive('nodes', language, admin);
    await page.locator('nav a[href="#/roles"]').waitFor();
    for (const place of PLACES) {
      await page.evaluate((place) => (location.hash = `#/${place}`), place);
      await page.locator(`nav a[href="#/${place}"][aria-current]`).or(page.locator('main section')).first().waitFor();
      await settled(page);
      if (LAST[place]) await page.locator(LAST[place]).first().waitFor();
      await settled(page);
      await same(page, language, place, { row: SAME.includes(place) });
    }
    await page.evaluate(() => (location.hash = '#/nodes'));
    await page.locator('tbody tr').first().waitFor();
    for (const menu of await page.locator('details.menu').all()) await menu.evaluate((on: HTMLDetailsElement) => (on.open = true));
    await same(page, language, 'menus', { frame: true, row: true });
  }
  // Last, for it is the browser that is locked, whichever page of it is looked at.
  const page = await arrive('nodes', 'en', admin);
  await page.keyboard.press('Control+Shift+L');
  await page.getByRole('dialog').waitFor();
  await same(page, 'en', 'lock');
  const other = await visit('nodes', { port: gate.port, language: 'zh-CN', cookie: admin });
  await other.getByRole('dialog').waitFor();
  await same(other, 'zh-CN', 'lock');
});

/** Names of the product, of keys, and of what the data above is called: the same in any language. */
const NAMES = /\b(Moongate main|Moongate|Ctrl( Shift)?( [A-Z])?|ann|vic|access|admin|auditor|editor|vendor|root|gpu-1|env=prod,? gpu=h800|proxy|node|English)\b|简体中文/g;

/** Each name and text of the snapshots, as `place: text`, without names and without how elements are called. */
function words(language: Language): string[] {
  return [...seen[language]].flatMap(([place, text]) => text.split('\n')
    .filter((line) => !/^ *- \/url:/.test(line))
    .flatMap((line) => line.replace(/^ *- '?\/?\w+/, '').replace(/<\w+>|\[\w+(=\d)?\]/g, '').split(/[":]/))
    .map((part) => `${place}: ${part.replace(NAMES, '').trim()}`));
}

test('no word of the one language is in the other', () => {
  const [english, chinese] = LANGUAGES.map(words);

  expect(english!.filter((part) => /\p{Script=Han}/u.test(part))).toEqual([]);
  expect(chinese!.filter((part) => /[A-Za-z]+ [A-Za-z]+ [A-Za-z]+/.test(part))).toEqual([]);
  const said = new Set(english);
  expect([...new Set(chinese)].filter((part) => said.has(part) && /: .*[A-Za-z]{2}/.test(part))).toEqual([]);
});

test.each(LANGUAGES)('nothing is kept of what is no longer looked at, %s', (language) => {
  expect(readdirSync(folder(language)).filter((file) => !seen[language].has(file.replace(/\.txt$/, '')))).toEqual([]);
});
