// What a tab comes back to after it was loaded anew, and what it says of output that is gone.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signIn, visit } from '../world/browser';
import { Gate } from '../world/gate';
import type { Person } from '../world/person';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

const expected = /ERR_|WebSocket connection|status of (401|404|50\d)|INCOMPLETE_CHUNKED_ENCODING/;
let gate: Gate;
let who: Person;
let cookie = '';

beforeAll(async () => {
  gate = await Gate.startApart();
  who = await gate.person('eve', 'access');
  cookie = await who.cookie(gate.port);
});
afterAll(() => gate?.stop());

const start = () => visit('nodes', { cookie, port: gate.port, expected });
const written = (page: Page) => page.evaluate(() => sessionStorage.getItem('terminals'));
let proofs = 0;
/** Asks the shell who it is, on a line that no other proof shares; what stands above stays on view. */
async function same(page: Page, shell: string): Promise<void> {
  proofs += 1;
  await page.locator('footer [role=status].good').waitFor();
  await page.locator('.xterm-helper-textarea').focus();
  await type(page, `echo "same-${proofs}-$kept-$$"`);
  expect(await shows(page, new RegExp(`^same-${proofs}-\\d+-\\d+$`, 'm'))).toContain(`same-${proofs}-${shell}-${shell}`);
}

test('a page that is loaded anew has its shell again with what it said; a copy of the tab leaves it alone', async () => {
  const page = await start();
  await open(page);
  await type(page, 'clear; kept=$$; echo first-$kept');
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1]!;

  await page.reload();
  await shows(page, new RegExp(`^first-${shell}$`, 'm'));
  await same(page, shell);

  const copy = await page.context().newPage();
  await copy.goto(page.url());
  await copy.evaluate((kept) => sessionStorage.setItem('terminals', kept!), await written(page));
  await copy.reload();
  await until('the copy to forget', async () => ((await written(copy)) === null ? true : undefined));
  await copy.close();
  await same(page, shell);

  await type(page, 'exit');
  await page.getByText('The session has ended').waitFor();
  expect(await written(page)).toBeNull();
});

test('a gate that was started anew and a page that was loaded anew: the same shell; what is not kept is said, in both languages', async () => {
  const page = await start();
  await open(page);
  const go = join(gate.dir, 'go');
  // Carriage returns: much output, no rows.
  await type(page, `clear; kept=$$; echo first-$kept; until [ -e ${go} ]; do sleep 0.1; done; head -c 600000 /dev/zero | tr '\\0' '\\r'; touch ${go}-on; echo after-$((1))`);
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1]!;
  const kept = JSON.parse((await written(page))!) as { shells: object[] };
  expect(kept.shells.map((one) => Object.keys(one).sort())).toEqual([['keep', 'login', 'name', 'node']]);

  await gate.running.get('proxy')!.stop('SIGKILL');
  await page.getByText('Connection lost. Coming back').waitFor();
  writeFileSync(go, '');
  await gate.startProxy();
  await gate.online('gpu-1');
  await signIn(page, who);
  await shows(page, /^after-1$/m);
  expect(await text(page)).toMatch(/Here \d+\.\d KiB of output are missing/);
  await same(page, shell);

  await page.evaluate(() => localStorage.setItem('language', 'zh-CN'));
  await page.reload();
  await shows(page, /此处缺少 .* 的输出/);
  await page.evaluate(() => localStorage.setItem('language', 'en'));
  await gate.running.get('proxy')!.stop('SIGKILL');
  await gate.startProxy();
  await gate.online('gpu-1');
  await page.reload();
  await signIn(page, who);
  await same(page, shell);

  await page.locator('.menu summary').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Password').waitFor();
  expect(await written(page)).toBeNull();
});
