// What measuring specs share: samples, rows of the page they print, keystrokes, and what processes use.
import { spawn } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import type { Page } from 'playwright-core';
import { world } from '../world/browser';
import { call } from '../world/http';
import { bare, until } from '../world/process';

const file = process.env['MOONGATE_BENCH'];

/** Prints a line and keeps it for docs/performance.md. */
export function say(line: string): void {
  console.log(line);
  if (file) appendFileSync(file, `${line}\n`);
}

/** What was measured where; refuses a program into which the app was not built. */
export async function machine(): Promise<string> {
  if (!(await call(world.port, 'GET', '/')).text.includes('id="app"')) throw new Error('this program has no browser app in it: build ui/ first');
  return `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB of memory`;
}

export function build(): string {
  return process.env['MOONGATE_BENCH_BUILD'] ?? 'a build of unknown kind';
}

export interface Shown { p50: number; p99: number }
export function shown(sample: number[]): Shown {
  const sorted = [...sample].sort((a, b) => a - b);
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))]!;
  return { p50: at(0.5), p99: at(0.99) };
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Run in the page before its scripts: notes when output of a terminal arrives. */
export function listen(): void {
  const Real = window.WebSocket;
  window.WebSocket = class extends Real {
    constructor(url: string | URL) {
      super(url);
      this.addEventListener('message', (event: MessageEvent<unknown>) => {
        if (event.data instanceof ArrayBuffer && new Uint8Array(event.data)[0] === 0) window.dispatchEvent(new Event('bench-heard'));
      });
    }
  };
}

/** From the key until its echo is back in the page, and until the letter is drawn there, in ms. */
export function keystrokes(page: Page, count: number): Promise<{ back: number[]; drawn: number[] }> {
  return page.evaluate(async (count) => {
    const took = { back: [] as number[], drawn: [] as number[] };
    const rows = document.querySelector('.xterm-rows')!;
    const length = () => rows.textContent!.replaceAll('\u00a0', ' ').trimEnd().length;
    for (let i = 0; i < count; i += 1) {
      await new Promise((done) => setTimeout(done, 15 + Math.random() * 15));
      const before = length();
      let start = 0;
      const back = new Promise<number>((done) => window.addEventListener('bench-heard', () => done(performance.now() - start), { once: true }));
      const drawn = new Promise<number>((done) => {
        const watch = new MutationObserver(() => {
          if (length() === before) return;
          watch.disconnect();
          done(performance.now() - start);
        });
        watch.observe(rows, { childList: true, subtree: true, characterData: true });
      });
      start = performance.now();
      document.execCommand('insertText', false, 'x');
      took.back.push(await back);
      took.drawn.push(await drawn);
    }
    return took;
  }, count);
}

/** From each key pressed in the filter of a table until the rows that match are drawn, in ms. The browser stamps the key when
 * it comes in; a message that is sent while a frame is made arrives when that frame has been drawn. `count` says how many rows
 * a text must leave, and how many were shown is looked at after each key. */
export async function typed(page: Page, words: string[], count: (text: string) => number): Promise<number[]> {
  const field = page.locator('.bar input[type=search]');
  await field.focus();
  await field.evaluate((field) => {
    let start = 0;
    const bench = window as unknown as { drawn: Promise<number> };
    field.addEventListener('keydown', (event) => {
      start = event.timeStamp;
      bench.drawn = new Promise((done) => field.addEventListener('input', () => requestAnimationFrame(() => {
        const after = new MessageChannel();
        after.port1.onmessage = () => done(performance.now() - start);
        after.port2.postMessage(null);
      }), { once: true }));
    }, { capture: true });
  });
  const took: number[] = [];
  let text = '';
  const press = async (key: string, then: string) => {
    await pause(50 + Math.random() * 50);
    await page.keyboard.press(key);
    took.push(await page.evaluate(() => (window as unknown as { drawn: Promise<number> }).drawn));
    text = then;
    const said = Number.parseInt((await page.locator('.bar [role=status]').textContent()) ?? '', 10);
    if (said !== count(text)) throw new Error(`"${text}" leaves ${said} rows, not ${count(text)}`);
  };
  for (const word of words) {
    for (const letter of word) await press(letter === ' ' ? 'Space' : letter, text + letter);
    await field.selectText();
    await press('Backspace', '');
  }
  return took;
}

/** The same with stock ssh: from the byte written until its echo is read. */
export async function stock(config: string, home: string, count: number): Promise<number[]> {
  const child = spawn('ssh', ['-F', config, '-tt', 'root@gpu-1.main', 'stty -icanon; echo ready; exec cat >/dev/null'], { env: bare(home), stdio: ['pipe', 'pipe', 'ignore'] });
  let heard = '';
  let wake = () => {};
  child.stdout.on('data', (part: Buffer) => { heard += part.toString(); wake(); });
  try {
    await until('ssh', () => heard.includes('ready') || undefined);
    const took: number[] = [];
    for (let i = 0; i < count; i += 1) {
      await pause(15 + Math.random() * 15);
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

/** What a process and its children that run the same program use: seconds of processor time, MiB resident and private. */
export function usage(root: number): { seconds: number; resident: number; own: number } {
  const program = readlinkSync(`/proc/${root}/exe`);
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      parents.set(Number(name), Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const within = (id: number): boolean => id === root || (parents.has(id) && id > 1 && within(parents.get(id)!));
  const sum = { seconds: 0, resident: 0, own: 0 };
  for (const id of parents.keys()) {
    try {
      if (!within(id) || readlinkSync(`/proc/${id}/exe`) !== program) continue;
      const stat = readFileSync(`/proc/${id}/stat`, 'utf8').split(') ')[1]!.split(' ');
      const rollup = readFileSync(`/proc/${id}/smaps_rollup`, 'utf8');
      const mib = (what: string) => Number(new RegExp(`^${what}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
      sum.seconds += (Number(stat[11]) + Number(stat[12])) / 100;
      sum.resident += mib('Rss');
      sum.own += mib('Private_Clean') + mib('Private_Dirty');
    } catch {
      // It ended meanwhile.
    }
  }
  return sum;
}
