// What the browser costs: `cargo xtask bench web`. Measured in the page itself, with stock ssh to the same node through the
// same gate in the same run beside it. Prints a section of docs/performance.md.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { mctl, somebody, tools, visit, world } from '../world/browser';
import { DIRECTIVES, Front } from '../world/front';
import { Gate } from '../world/gate';
import { PASSWORD } from '../world/person';
import { bare, run } from '../world/process';
import { open, shows, type } from '../world/terminal';
import { hold } from './idle';
import { build, keystrokes, listen, machine, pause, say, shown, stock, typed, usage, type Shown } from './measure';

const KEYS = 200;
const BYTES = 10_000_000;
const TERMINALS = 200;
/** The gate allows 32 to a session. */
const EACH = 25;
const IDLE = 60_000;
/** Typed into the filter, letter by letter: half a minute, in which the list is fetched anew once or twice. */
const WORDS = 36;
const LIMIT = 900_000;

test('keystrokes, alone and beside a download', async () => {
  say(`${await machine()}; ${build()}. Debian's Chromium without a graphics card, so that the processor draws; gate, node and\nbrowser on one machine.\n`);
  const who = await somebody('access');
  const home = join(world.dir, who.name);
  mkdirSync(join(home, '.ssh'), { recursive: true });
  const pin = (JSON.parse(mctl(['status', '--format=json'])) as { cluster: { ca_pins: string[] } }).cluster.ca_pins[0]!;
  run(world.program, ['msh', 'login', '--proxy', `127.0.0.1:${world.port}`, '--user', who.name, '--ca-pin', pin], home, `${PASSWORD}\n${await who.code()}\n`);
  const config = join(home, '.ssh/config');
  writeFileSync(config, `${run(world.program, ['msh', 'config'], home)}\nHost *\n    BatchMode yes\n    ControlPath none\n`);

  const page = await visit('nodes', { cookie: world.admin, port: world.port });
  await page.addInitScript(listen);
  await page.reload();
  await open(page);
  // The node's terminal itself echoes: no line editor in the way.
  await type(page, 'clear; stty -icanon; exec cat >/dev/null');
  await pause(1000);
  const web = await keystrokes(page, KEYS);
  const ssh = await stock(config, home, KEYS);
  say('| Keystroke until its echo is | back in the page | with stock ssh, same gate and node | ratio | drawn in the page |');
  say('|---|---|---|---|---|');
  const row = (what: string, p: keyof Shown, web: { back: number[]; drawn: number[] }, ssh: number[]) => {
    const [back, drawn, other] = [shown(web.back)[p], shown(web.drawn)[p], shown(ssh)[p]];
    say(`| ${what}, ${p} | ${back.toFixed(1)} ms | ${other.toFixed(1)} ms | ${(back / other).toFixed(1)} | ${drawn.toFixed(1)} ms |`);
  };
  row('alone', 'p50', web, ssh);
  row('alone', 'p99', web, ssh);

  const download = spawn('sh', ['-c', `while ssh -F '${config}' root@gpu-1.main 'head -c 1073741824 /dev/zero' >/dev/null; do :; done`], { env: bare(home), stdio: 'ignore', detached: true });
  try {
    await pause(2000);
    const [busy, busySsh] = [await keystrokes(page, KEYS), await stock(config, home, KEYS)];
    row('beside downloads of 1 GiB from the same node', 'p50', busy, busySsh);
    row('beside downloads of 1 GiB from the same node', 'p99', busy, busySsh);
  } finally {
    process.kill(-download.pid!);
  }
}, LIMIT);

test('output drawn', async () => {
  const page = await visit('nodes', { cookie: world.admin, port: world.port });
  await open(page);
  const start = performance.now();
  await type(page, `head -c ${BYTES} /dev/zero | tr '\\0' x | fold -w 100; echo; echo end-$((1))`);
  await shows(page, /^end-1$/m, 300_000);
  say('\n| | |\n|---|---|');
  say(`| Output drawn in the terminal, lines of 100 characters | ${(BYTES / 1e6 / ((performance.now() - start) / 1000)).toFixed(1)} MB/s |`);
}, LIMIT);

test('first load', async () => {
  const page = await visit('nothing-yet', { port: world.port });
  const chrome = await tools(page);
  await chrome.send('Network.enable');
  await chrome.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  chrome.on('Network.loadingFinished', (loaded) => (bytes += loaded.encodedDataLength));
  await page.reload({ waitUntil: 'networkidle' });
  say(`| First load of the sign-in page, as it went over the wire | ${(bytes / 1024).toFixed(0)} KiB |`);
}, LIMIT);

test('a filter over many nodes', async () => {
  const count = 10_000;
  const nodes = Array.from({ length: count }, (_, i) => ({
    id: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, name: `gpu-${i}`, labels: { zone: `z${i % 7}`, serial: `s${i}` },
    last_seen: '2026-01-01T00:00:00.000Z', liveness: 'online', logins: ['root'], version: '0.1.0' }));
  // The list comes from nginx: what drives the browser would answer with work of its own beside the keys.
  const list = join(world.dir, 'many-nodes.json');
  writeFileSync(list, JSON.stringify({ items: nodes }), { mode: 0o644 });
  const front = await Front.start(`${DIRECTIVES(world.port)}\n}\nlocation = /v1/nodes {\ndefault_type application/json;\nalias ${list};`);
  onTestFinished(() => front.stop());
  const page = await visit('nothing', { cookie: world.admin, port: front.port });
  for (const [what, query] of [['', ''], [', a label chosen and sorted by name', '?labels=zone%3Dz3&sort=-name']] as const) {
    const there = nodes.filter((node) => !query || node.labels.zone === 'z3');
    await page.goto(`https://127.0.0.1:${front.port}/#/nodes${query}`);
    await page.locator('.bar [role=status]', { hasText: `${there.length} rows` }).waitFor();
    const words = Array.from({ length: WORDS }, (_, i) => ['zone=z3', `gpu-${i * 391}`, `s${i * 7 + 3} z3`][i % 3]!);
    const took = await typed(page, words, (wanted) => there.filter((node) => {
      const line = [node.name, 'connected', `serial=s${node.name.slice(4)} zone=${node.labels.zone}`].join(' ');
      return wanted.split(' ').every((word) => line.includes(word));
    }).length);
    const { p50, p99 } = shown(took);
    say(`| A filter over 10,000 nodes${what}: from the key until the rows are drawn, p50, p99 and slowest of ${took.length} | ${p50.toFixed(0)}, ${p99.toFixed(0)} and ${Math.max(...took).toFixed(0)} ms |`);
  }
}, LIMIT);

test('many idle terminals', async () => {
  const gate = await Gate.startApart();
  try {
    const node = (JSON.parse(gate.mctl(['nodes', 'ls', '--format=json'])) as { id?: string; node?: { id: string } }[])[0]!;
    const cookies: string[] = [];
    for (let i = 0; i < TERMINALS / EACH; i += 1) cookies.push(await (await gate.person(`idle-${i}`, 'access')).cookie(gate.port));
    const parts = ['proxy', 'gpu-1', 'auth'];
    const now = () => parts.map((part) => usage(gate.running.get(part)!.id));
    // What is made once, at the first terminal, is nobody's share.
    const expected = /ERR_CONNECTION_REFUSED/; // Pages outlive this gate, and look for it.
    const first = await visit('account', { cookie: cookies[0]!, port: gate.port, expected });
    expect(await hold(first, (node.id ?? node.node?.id)!, 1)).toBe(1);
    await pause(5_000);
    const before = now();
    let there = 0;
    for (const cookie of cookies) {
      const page = await visit('account', { cookie, port: gate.port, expected });
      there += await hold(page, (node.id ?? node.node?.id)!, EACH);
    }
    expect(there).toBe(TERMINALS);
    await pause(15_000);
    const [opened, start] = [now(), performance.now()];
    await pause(IDLE);
    const [after, seconds] = [now(), (performance.now() - start) / 1000];
    say(`\n| ${TERMINALS} idle terminals, recorded | resident, each | of that private, each | processor, all of them |`);
    say('|---|---|---|---|');
    parts.forEach((part, i) => {
      const kib = (what: 'resident' | 'own') => (((after[i]![what] - before[i]![what]) * 1024) / TERMINALS).toFixed(0);
      const load = ((after[i]!.seconds - opened[i]!.seconds) / seconds) * 100;
      say(`| ${{ proxy: 'proxy', 'gpu-1': 'node', auth: 'authority' }[part]} | ${kib('resident')} KiB | ${kib('own')} KiB | ${load.toFixed(2)} % of a core |`);
    });
  } finally {
    await gate.stop();
  }
}, LIMIT);
