// What the player costs in long recordings: `cargo xtask bench player`. Recordings are made by the `reel` example of
// `session`; a moment counts as reached when the line that was written there is an element of the page.
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import type { Page } from 'playwright-core';
import type { GetTimelineAnswer } from '../../src/api/recordings';
import { mctl, tools, visit, world } from '../world/browser';
import { TOKEN } from '../world/gate';
import { json } from '../world/http';
import { until } from '../world/process';
import { build, machine, say, shown } from './measure';

const CASES = [{ what: 'ten hours, 60 MiB', hours: 10, mib: 60 }, { what: 'one hour, 500 MiB', hours: 1, mib: 500 }];
const OPENINGS = 5;
const SEEKS = 100;
/** The recordings say `[seconds]` every so often. */
const EVERY = 5;
const LIMIT = 1_200_000;

/** Waits in the page until a row says it; how long since `from`, which is the page's own beginning when it is 0. */
function reached(page: Page, second: number, go: boolean): Promise<number> {
  return page.evaluate(async ({ second, go, next }) => {
    const from = go ? performance.now() : 0;
    const there = () => {
      const rows = document.querySelector('.xterm-rows')?.textContent?.replaceAll('\u00a0', ' ') ?? '';
      return rows.includes(`[${second}] `) && !rows.includes(`[${next}] `);
    };
    if (go) {
      const hand = document.querySelector<HTMLInputElement>('.time input')!;
      hand.value = String(second * 1e6 + 100_000);
      hand.dispatchEvent(new Event('input', { bubbles: true }));
    }
    while (!there()) {
      if (performance.now() - from > 60_000) throw new Error(`second ${second} is not on the screen`);
      await new Promise((done) => requestAnimationFrame(done));
    }
    return performance.now() - from;
  }, { second, go, next: second + EVERY });
}

/** MiB of the page's own scripts: objects and buffers, after a collection. */
async function heap(page: Page): Promise<number> {
  const chrome = await tools(page);
  await chrome.send('HeapProfiler.collectGarbage');
  const used = (await chrome.send('Runtime.getHeapUsage')) as { usedSize: number; backingStorageSize?: number };
  await chrome.detach();
  return (used.usedSize + (used.backingStorageSize ?? 0)) / 2 ** 20;
}

/** Makes a recording and waits until the gate has looked through it. */
async function make(hours: number, mib: number): Promise<{ id: string; stored: number; segments: number }> {
  const pin = (JSON.parse(mctl(['status', '--format=json'])) as { cluster: { ca_pins: string[] } }).cluster.ca_pins[0]!;
  const id = execFileSync(process.env['MOONGATE_REEL'] ?? 'reel', [`127.0.0.1:${world.port}`, TOKEN, pin, String(hours), String(mib)], { encoding: 'utf8' }).trim();
  const headers = { cookie: `__Host-session=${world.admin}` };
  const found = await until('the gate to have looked through it', async () => {
    const { info, spans } = await json<GetTimelineAnswer>(world.port, 'GET', `/v1/recordings/${id}/timeline`, undefined, headers);
    return info.state === 'complete' && spans.length === info.segments ? info : undefined;
  }, LIMIT);
  return { id, stored: found.bytes / 2 ** 20, segments: found.segments };
}

test('the machine', async () => {
  say(`${await machine()}; ${build()}. Debian's Chromium without a graphics card; gate and browser on one machine.\n`);
  say('| Recording | stored | segments | opening, p50 and slowest | at a moment, p50 and slowest | seek, p50 | seek, p99 | heap after one seek | after all |');
  say('|---|---|---|---|---|---|---|---|---|');
});

test.each(CASES)('$what', async ({ what, hours, mib }) => {
  const { id, stored, segments } = await make(hours, mib);
  const moment = () => Math.floor((Math.random() * (hours * 3_600 - 2 * EVERY)) / EVERY) * EVERY + EVERY;
  const [begins, moments, seeks]: [number[], number[], number[]] = [[], [], []];
  for (let i = 0; i < OPENINGS; i += 1) {
    const fresh = await visit(`recordings/${id}`, { cookie: world.admin, port: world.port });
    begins.push(await reached(fresh, 0, false));
    await fresh.context().close();
    const to = moment();
    const linked = await visit(`recordings/${id}?t=${to}.1`, { cookie: world.admin, port: world.port });
    moments.push(await reached(linked, to, false));
    await linked.context().close();
  }
  const page = await visit(`recordings/${id}?t=0`, { cookie: world.admin, port: world.port });
  await reached(page, 0, false);
  seeks.push(await reached(page, moment(), true));
  const before = await heap(page);
  for (let i = 1; i < SEEKS; i += 1) seeks.push(await reached(page, moment(), true));
  const after = await heap(page);

  const ms = (n: number) => `${n.toFixed(0)} ms`;
  const both = (sample: number[]) => `${ms(shown(sample).p50)}, ${ms(Math.max(...sample))}`;
  say(`| ${what} | ${stored.toFixed(0)} MiB | ${segments} | ${both(begins)} | ${both(moments)} | ${ms(shown(seeks).p50)} | ${ms(shown(seeks).p99)} | ${before.toFixed(0)} MiB | ${after.toFixed(0)} MiB |`);
  expect(after - before, 'memory stays bounded').toBeLessThan(64);
}, LIMIT);
