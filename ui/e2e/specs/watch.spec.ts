import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { somebody, visit, world } from '../world/browser';
import { until } from '../world/process';
import { open, shows, type } from '../world/terminal';

/** Somebody at work in a shell on gpu-1. Whose session it is tells it from those that other specs leave behind. */
async function works(): Promise<{ name: string; page: Page }> {
  const who = await somebody('vendor');
  const page = await visit('nodes', { cookie: await who.cookie(world.port) });
  await open(page, 'gpu-1');
  return { name: who.name, page };
}

/** Somebody's row, once it is there and has this. */
const row = (page: Page, name: string, more = '') => page.getByRole('row').filter({ hasText: new RegExp(`${name}.*${more}`) });

/** Somebody's live session, watched. */
async function watched(name: string): Promise<Page> {
  const page = await visit('live', { cookie: world.admin });
  await row(page, name).getByRole('link', { name: 'Watch' }).click();
  return page;
}

/** The first segment of a recording, as the authority keeps it. */
function segment(folder: string, id: string): string {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name));
  return all.filter((path) => path.endsWith(`/recordings/${id}/00000000.seg`))[0]!;
}

test('an auditor seeks in a recording and proves it; a flipped byte turns the badge red', async () => {
  const his = await works();
  await type(his.page, 'echo early-$((1))');
  await shows(his.page, /^early-1$/m);

  await type(his.page, 'echo later-$((2))');
  await shows(his.page, /^later-2$/m);
  await type(his.page, 'exit');
  await his.page.getByText('The session has ended').waitFor();

  const page = await visit('recordings', { cookie: world.admin });
  await row(page, his.name, 'Complete').click();
  await page.getByRole('button', { name: 'Play' }).waitFor();
  const id = /#\/recordings\/([^?]+)/.exec(page.url())![1]!;
  await page.keyboard.press('End');
  await shows(page, /^later-2$/m);
  await page.keyboard.press('Home');
  await until('the beginning', async () => (!(await page.locator('.xterm-rows').innerText()).includes('later') ? true : undefined));
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.locator('.badge.proven').waitFor();

  const file = segment(world.dir, id);
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(file, bytes);
  await page.reload();
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.locator('.badge.broken').waitFor();
  expect(await page.locator('.badge').innerText()).toContain('0');
});

test('what was on the screen is found, and the hit opens the player before the moment', async () => {
  const his = await works();
  await type(his.page, 'echo nee""dle-$((6*7)); printf "\\346\\226\\207\\344\\273\\266\\351\\224\\231\\350\\257\\257\\n"');
  await shows(his.page, /^needle-42$/m);
  await type(his.page, 'exit');
  await his.page.getByText('The session has ended').waitFor();

  const page = await visit('screens', { cookie: world.admin });
  const find = async (text: string) => {
    await page.getByRole('searchbox').fill('');
    await page.getByRole('searchbox').fill(text);
  };
  await until('the row', async () => {
    await find('NEEDLE-42');
    return (await page.getByRole('row').filter({ hasText: 'needle-42' }).first().waitFor({ timeout: 20_000 }).then(() => true, () => undefined));
  });
  await find('文件错误');
  await page.getByRole('row').filter({ hasText: '文件错误' }).first().waitFor();
  await find('ab');
  await page.getByText('One word needs three letters').first().waitFor();
  await find('needle-42');
  await page.getByRole('row').filter({ hasText: 'needle-42' }).first().click();
  await page.getByRole('button', { name: 'Play' }).waitFor();
  expect(page.url()).toContain('find=needle-42');
  expect(await page.getByRole('searchbox').inputValue()).toBe('needle-42');
  await page.getByText('1 find').waitFor();
  await page.keyboard.press('End');
  await shows(page, /^needle-42$/m);
  await page.getByRole('button', { name: 'Commands', exact: true }).click();
  await page.getByRole('tab', { name: 'Transcript' }).click();
  await page.locator('.transcript mark').first().waitFor();
});

test('a session that goes on is seen while it goes on', async () => {
  const his = await works();
  await type(his.page, 'echo first-$((1))');
  await shows(his.page, /^first-1$/m);
  const page = await watched(his.name);
  await shows(page, /^first-1$/m);
  for (const n of [2, 3, 4]) {
    await type(his.page, `echo seen-${n}-$((${n}*11))`);
    await shows(page, new RegExp(`^seen-${n}-${n * 11}$`, 'm'));
  }
  await type(his.page, 'exit');
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.locator('.badge').waitFor();
  expect(await page.locator('.badge.broken').count()).toBe(0);
});

/** Notes every row that is drawn, and rows that do not follow the one above. Run in the page. */
function note(): void {
  const all = { seen: [] as number[], torn: [] as string[] };
  Object.assign(window, { noted: all });
  const look = () => {
    const rows = (document.querySelector('.xterm-rows')?.textContent ?? '').matchAll(/row-(\d+)-/g);
    const here = [...rows].map((row) => Number(row[1]));
    here.forEach((n, i) => { if (i > 0 && n !== here[i - 1]! + 1) all.torn.push(`${here[i - 1]} then ${n}`); });
    for (const n of here) if (!all.seen.includes(n)) all.seen.push(n);
  };
  new MutationObserver(look).observe(document.querySelector('.xterm-rows')!, { childList: true, subtree: true, characterData: true });
  look();
}

test('a live view joined in the middle misses no row and doubles none', async () => {
  // It goes on by ten rows when the last ten were on view: what comes too fast for a screen scrolls away unseen, on a slow
  // machine even this.
  const [FIRST, EACH, LAST] = [30, 10, 240];
  const dir = mkdtempSync(join(tmpdir(), 'moongate-rows-'));
  const his = await works();
  await type(his.page, `clear; n=0; while [ $n -lt ${LAST} ]; do n=$((n+1)); echo "row-$n-"; if [ $n -ge ${FIRST} ] && [ $((n % ${EACH})) = 0 ]; then until [ -e ${dir}/$n ]; do sleep .05; done; fi; sleep .02; done; echo all-$((n))`);
  await shows(his.page, new RegExp(`^row-${FIRST}-$`, 'm'));

  const page = await watched(his.name);
  await shows(page, new RegExp(`^row-${FIRST}-$`, 'm'));
  await page.evaluate(note);
  for (let n = FIRST; n <= LAST; n += EACH) {
    await shows(page, new RegExp(`^row-${n}-$`, 'm'));
    writeFileSync(join(dir, String(n)), '');
  }
  await shows(page, new RegExp(`^all-${LAST}$`, 'm'));
  rmSync(dir, { recursive: true });
  const { seen, torn } = await page.evaluate(() => (window as unknown as { noted: { seen: number[]; torn: string[] } }).noted);

  expect(torn).toEqual([]);
  expect(seen.at(-1)).toBe(LAST);
  expect(seen).toEqual(Array.from({ length: LAST - seen[0]! + 1 }, (_, i) => seen[0]! + i));
  await type(his.page, 'exit');
  await his.page.getByText('The session has ended').waitFor();
});

test('a live view of a flood: each screen goes on from the one before, and the last row is there once', async () => {
  const [BURSTS, EACH] = [40, 2_000];
  const his = await works();
  await type(his.page, `clear; n=0; while [ $n -lt ${BURSTS} ]; do seq -f row-%.0f- $((n * ${EACH} + 1)) $(((n + 1) * ${EACH})); n=$((n + 1)); sleep .3; done; echo all-$((${BURSTS} * ${EACH}))`);
  await shows(his.page, /^row-\d{5}-$/m);

  const page = await watched(his.name);
  await shows(page, /^row-\d+-$/m);
  await page.evaluate(note);
  const last = await shows(page, new RegExp(`^all-${BURSTS * EACH}$`, 'm'));
  const { seen, torn } = await page.evaluate(() => (window as unknown as { noted: { seen: number[]; torn: string[] } }).noted);

  expect(torn).toEqual([]);
  expect(seen).toEqual([...seen].sort((a, b) => a - b));
  expect(last.match(new RegExp(`row-${BURSTS * EACH}-`, 'g'))).toHaveLength(1);
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.locator('.badge').waitFor();
  expect(await page.locator('.badge.broken').count()).toBe(0);
  await type(his.page, 'exit');
  await his.page.getByText('The session has ended').waitFor();
});

test('an admin ends a live session with a reason; the person is told that it is over', async () => {
  const his = await works();
  const page = await visit('live', { cookie: world.admin });
  await row(page, his.name).getByRole('button', { name: 'End' }).click();
  await page.getByLabel('Reason').fill('maintenance window');

  await page.locator('dialog[open] button[type=submit]').click();

  await his.page.getByText(/The session has ended|The shell could not be opened|Refused/).waitFor();
});
