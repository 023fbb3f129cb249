// What the browser costs: `cargo xtask bench web`. Measured in the page itself, with stock ssh to the same node through the
// same gate in the same run beside it. Prints a section of docs/performance.md.
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, test } from 'vitest';
import { mctl, somebody, tools, visit, world } from '../world/browser';
import { PASSWORD } from '../world/person';
import { bare, run, until } from '../world/process';
import { open, shows, type } from '../world/terminal';

const KEYS = 100;
const BYTES = 10_000_000;
const lines: string[] = [];
const say = (line: string) => { lines.push(line); console.log(line); };
const at = (sorted: number[], p: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!;
const shown = (sample: number[]) => {
  const sorted = [...sample].sort((a, b) => a - b);
  return { p50: at(sorted, 0.5), p99: at(sorted, 0.99) };
};

/** From the key until the letter is an element of the page, in ms. */
function keystrokes(page: Page): Promise<number[]> {
  return page.evaluate(async (count) => {
    const took: number[] = [];
    const rows = document.querySelector('.xterm-rows')!;
    for (let i = 0; i < count; i += 1) {
      await new Promise((done) => setTimeout(done, 15 + Math.random() * 15));
      took.push(await new Promise<number>((done) => {
        const before = rows.textContent!.replaceAll('\u00a0', ' ').trimEnd().length;
        const start = performance.now();
        const watch = new MutationObserver(() => {
          if (rows.textContent!.replaceAll('\u00a0', ' ').trimEnd().length === before) return;
          watch.disconnect();
          done(performance.now() - start);
        });
        watch.observe(rows, { childList: true, subtree: true, characterData: true });
        document.execCommand('insertText', false, 'x');
      }));
    }
    return took;
  }, KEYS);
}

/** The same with stock ssh: from the byte written until its echo is read. */
async function stock(config: string, home: string): Promise<number[]> {
  const child = spawn('ssh', ['-F', config, '-tt', `root@gpu-1.main`, 'stty raw echo; echo ready; exec cat'], { env: bare(home), stdio: ['pipe', 'pipe', 'ignore'] });
  let heard = '';
  let wake = () => {};
  child.stdout.on('data', (part: Buffer) => { heard += part.toString(); wake(); });
  try {
    await until('ssh', () => heard.includes('ready') || undefined);
    const took: number[] = [];
    for (let i = 0; i < KEYS; i += 1) {
      await new Promise((done) => setTimeout(done, 15 + Math.random() * 15));
      heard = '';
      const start = performance.now();
      const echoed = new Promise<void>((done) => (wake = done));
      child.stdin.write('x');
      await echoed;
      took.push(performance.now() - start);
    }
    return took;
  } finally {
    child.kill();
  }
}

test('keystrokes, alone and beside a download; throughput; first load; a filter over many nodes', async () => {
  const who = await somebody('access');
  const home = join(world.dir, who.name);
  mkdirSync(join(home, '.ssh'), { recursive: true });
  const pin = (JSON.parse(mctl(['status', '--format=json'])) as { cluster: { ca_pins: string[] } }).cluster.ca_pins[0]!;
  run(world.program, ['msh', 'login', '--proxy', `127.0.0.1:${world.port}`, '--user', who.name, '--ca-pin', pin], home, `${PASSWORD}\n${await who.code()}\n`);
  const config = join(home, '.ssh/config');
  writeFileSync(config, `${run(world.program, ['msh', 'config'], home)}\nHost *\n    BatchMode yes\n    ControlPath none\n`);

  const page = await visit('nodes', { cookie: world.admin, port: world.port });
  await open(page);
  // The node's terminal itself echoes: no line editor in the way.
  await type(page, 'clear; stty -icanon; exec cat >/dev/null');
  await page.waitForTimeout(1000);
  const web = shown(await keystrokes(page));
  const ssh = shown(await stock(config, home));
  const ratio = (a: number, b: number) => (a / b).toFixed(1);
  say('| Keystroke until its echo is there | Browser | Stock ssh, same gate and node | Ratio |');
  say('|---|---|---|---|');
  say(`| alone, p50 | ${web.p50.toFixed(1)} ms | ${ssh.p50.toFixed(1)} ms | ${ratio(web.p50, ssh.p50)} |`);
  say(`| alone, p99 | ${web.p99.toFixed(1)} ms | ${ssh.p99.toFixed(1)} ms | ${ratio(web.p99, ssh.p99)} |`);

  const download = spawn('sh', ['-c', `while ssh -F '${config}' root@gpu-1.main 'head -c 1073741824 /dev/zero' >/dev/null; do :; done`], { env: bare(home), stdio: 'ignore', detached: true });
  await new Promise((done) => setTimeout(done, 2000));
  const webBusy = shown(await keystrokes(page));
  const sshBusy = shown(await stock(config, home));
  process.kill(-download.pid!);
  say(`| beside downloads of 1 GiB from the same node, p50 | ${webBusy.p50.toFixed(1)} ms | ${sshBusy.p50.toFixed(1)} ms | ${ratio(webBusy.p50, sshBusy.p50)} |`);
  say(`| the same, p99 | ${webBusy.p99.toFixed(1)} ms | ${sshBusy.p99.toFixed(1)} ms | ${ratio(webBusy.p99, sshBusy.p99)} |`);
  await page.context().close();

  const flood = await visit('nodes', { cookie: world.admin, port: world.port });
  await open(flood);
  const start = performance.now();
  await type(flood, `head -c ${BYTES} /dev/zero | tr '\\0' x | fold -w 100; echo; echo end-$((1))`);
  await shows(flood, /^end-1$/m, 300_000);
  const rate = BYTES / 1e6 / ((performance.now() - start) / 1000);
  say('');
  say('| | |');
  say('|---|---|');
  say(`| Output drawn in the terminal, lines of 100 characters | ${rate.toFixed(1)} MB/s |`);

  const first = await visit('nothing-yet', { port: world.port });
  const chrome = await tools(first);
  await chrome.send('Network.enable');
  await chrome.send('Network.setCacheDisabled', { cacheDisabled: true });
  let bytes = 0;
  chrome.on('Network.loadingFinished', (loaded) => (bytes += loaded.encodedDataLength));
  await first.reload({ waitUntil: 'networkidle' });
  const built = JSON.stringify(bytes);
  say(`| First load of the sign-in page, as it went over the wire | ${(Number(built) / 1024).toFixed(0)} KiB |`);

  const many = await visit('nothing', { cookie: world.admin, port: world.port });
  await many.route('**/v1/nodes', (route) => route.fulfill({ json: { items: Array.from({ length: 10_000 }, (_, i) => ({
    id: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, name: `gpu-${i}`, labels: { zone: `z${i % 7}`, serial: `s${i}` },
    last_seen: '2026-01-01T00:00:00.000Z', liveness: 'online', logins: ['root'], version: '0.1.0' })) } }));
  await many.goto(`https://127.0.0.1:${world.port}/#/nodes`);
  await many.getByText('10000 rows').waitFor();
  const filters = shown(await many.evaluate(async () => {
    const field = document.querySelector<HTMLInputElement>('.bar input')!;
    const took: number[] = [];
    for (let i = 0; i < 100; i += 1) {
      field.value = `zone=z${i % 7} gpu-${i}`;
      const before = performance.now();
      field.dispatchEvent(new Event('input', { bubbles: true }));
      await new Promise((done) => setTimeout(done));
      void document.body.offsetHeight;
      took.push(performance.now() - before);
    }
    return took;
  }));
  say(`| A filter over 10,000 nodes, from the key until the rows are laid out, p50 and p99 | ${filters.p50.toFixed(0)} and ${filters.p99.toFixed(0)} ms |`);
}, 900_000);

afterAll(() => {
  const file = process.env['MOONGATE_BENCH'];
  if (!file) return;
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  writeFileSync(file, `## The browser\n\nDebian's Chromium without a graphics card, so that the processor draws; gate, node, browser and nginx on one machine:\n${machine}. Echoes in the browser end when the letter is in the page, those of ssh when the byte is read.\n\n${lines.join('\n')}\n`);
});
