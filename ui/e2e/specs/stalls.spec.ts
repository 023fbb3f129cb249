// It never plays dead: each part of the way stands still in turn, and the page says which one and goes on by itself.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import { visit } from '../world/browser';
import { DIRECTIVES, Front } from '../world/front';
import { Gate } from '../world/gate';
import { until } from '../world/process';
import { open, shows, type } from '../world/terminal';

const expected = /ERR_|WebSocket connection|status of (404|50\d)|INCOMPLETE_CHUNKED_ENCODING/;
let gate: Gate;
let front: Front;
let cookie = '';
const thawed: (() => void)[] = [];

beforeAll(async () => {
  gate = await Gate.startApart();
  front = await Front.start(DIRECTIVES(gate.port));
  await gate.join('gpu-2', front.port, { env: 'prod' });
  cookie = await (await gate.person('eve', 'admin')).cookie(gate.port);
});
afterAll(async () => {
  await front?.stop();
  await gate?.stop();
});

afterEach(() => {
  for (const thaw of thawed.splice(0)) thaw();
});

function freeze(part: string): () => void {
  const thaw = gate.running.get(part)!.freeze();
  thawed.push(thaw);
  return thaw;
}
const start = (place: string) => visit(place, { cookie, port: gate.port, expected });
/** It is well for good: a way that stood still may answer once and then be found broken, and what was typed at it is gone. */
const answers = (page: Page, line: string, wanted: RegExp) => until(`an answer of the shell to ${line}`, async () => {
  await page.locator('footer [role=status].good').waitFor();
  await page.locator('.xterm-helper-textarea').focus();
  // Of what was typed meanwhile some may have arrived.
  await page.keyboard.press('Control+u');
  await type(page, line);
  return shows(page, wanted, 20_000).catch(() => undefined);
});
const works = (page: Page, n: number) => answers(page, `echo works-$((${n} * 11))`, new RegExp(`^works-${n * 11}$`, 'm'));
/** It is the shell that it was. */
const same = (page: Page, shell: string) => answers(page, 'echo "same-$kept-$$"', new RegExp(`^same-${shell}-${shell}$`, 'm'));

test('a node that stands still is named in the terminal, and the shell goes on with it', async () => {
  const page = await start('nodes');
  await open(page, 'gpu-1');
  await type(page, 'clear; kept=$$; echo first-$kept');
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1];
  const thaw = freeze('gpu-1');
  await type(page, '# is anybody there?');
  await page.getByText(/Stalled: gpu-1 does not answer the gate|The gate does not reach gpu-1/).waitFor();
  // The gate gives its tunnel up soon.
  await page.getByText('The gate does not reach gpu-1').waitFor();

  thaw();
  await gate.online('gpu-1');

  await same(page, shell!);
});

test('a gate that stands still is named in the terminal and on pages, and both go on', async () => {
  const page = await start('nodes');
  await open(page, 'gpu-1');
  const list = await start('nodes');
  await list.getByRole('row').filter({ hasText: 'gpu-1' }).waitFor();
  const thaw = freeze('proxy');
  await type(page, '# is anybody there?');
  await page.getByText('Stalled: the gate does not answer').waitFor();
  await list.getByText('The gate cannot be reached').waitFor();

  thaw();

  await works(page, 1);
  await list.getByText('The gate cannot be reached').waitFor({ state: 'detached' });
});

test('an authority that stands still is named on pages and takes no terminal with it; pages fill by themselves', async () => {
  const page = await start('nodes');
  await open(page, 'gpu-1');
  const live = await start('live');
  await live.getByRole('link', { name: 'Watch' }).first().click();
  await shows(live, /[#$] *$/m);
  const thaw = freeze('auth');
  const later = await start('nodes');
  await later.getByText('The gate answers, but the authority behind it does not').waitFor();
  expect(await later.getByLabel('Password').count(), 'nobody is asked to sign in again').toBe(0);
  await live.getByText('The gate answers, but the authority behind it does not').waitFor();
  await works(page, 2);

  thaw();

  await later.getByRole('row').filter({ hasText: 'gpu-1' }).waitFor();
  await later.getByText('The gate answers').waitFor({ state: 'detached' });
  await works(page, 3);
  await shows(live, /^works-33$/m);
});

test('a tunnel that breaks is named, and the same shell is there when it is back', async () => {
  const page = await start('nodes');
  await open(page, 'gpu-2');
  await type(page, 'clear; kept=$$; echo first-$kept');
  const shell = /^first-(\d+)$/m.exec(await shows(page, /^first-\d+$/m))![1];
  await front.down();
  await page.getByText('The gate does not reach gpu-2').waitFor();

  await front.up();
  await gate.online('gpu-2');

  await same(page, shell!);
});
