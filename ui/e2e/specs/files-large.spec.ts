// Large files, and those whose way is cut, stopped or given up.
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, existsSync, mkdtempSync, openSync, readdirSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { tools, visit, world, type Wishes } from '../world/browser';
import { DIRECTIVES, Front } from '../world/front';
import { until } from '../world/process';

const MIB = 1024 * 1024;
/** Of the large one; a smaller one says less and takes less. */
const LARGE = Number(process.env['MOONGATE_LARGE_MIB'] ?? 1024);
let dir = '';
let target = '';

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'moongate-files-'));
  target = mkdtempSync(join(tmpdir(), 'moongate-target-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
  rmSync(target, { recursive: true });
});

/** A file that holds little on the disk and something else in each of its MiB. */
function make(name: string, mib: number): string {
  const path = join(dir, name);
  const file = openSync(path, 'w');
  for (let n = 0; n < mib; n += 1) writeSync(file, `piece ${n} of ${mib}\n`, n * MIB);
  closeSync(file);
  truncateSync(path, mib * MIB);
  return path;
}

function sum(path: string): Promise<string> {
  return new Promise((done, failed) => {
    const hash = createHash('sha256');
    createReadStream(path, { highWaterMark: MIB }).on('data', (part) => hash.update(part)).on('end', () => done(hash.digest('hex'))).on('error', failed);
  });
}

/** The page of an empty directory on gpu-1. */
async function files(wishes: Wishes = {}): Promise<Page> {
  const page = await visit('nodes', { cookie: world.vendor, ...wishes });
  await page.getByRole('button', { name: 'Connect to gpu-1' }).first().click();
  await page.getByRole('dialog').getByRole('link', { name: 'Files' }).click();
  await page.getByRole('heading', { name: 'Files' }).waitFor();
  await page.evaluate((path) => { location.hash = `${location.hash.split('?')[0]}?path=${encodeURIComponent(path)}`; }, target);
  await page.getByText('This directory is empty.').waitFor();
  return page;
}

/** Per cent of the transfer that is under way. */
const moved = (page: Page) => page.locator('progress').evaluate((bar: HTMLProgressElement) => bar.value);

test(`a file of ${LARGE} MiB goes up and comes down whole, and the page does not grow`, async () => {
  const path = make('large.bin', LARGE);
  const page = await files();
  const chrome = await tools(page);
  const heap = async () => {
    await chrome.send('HeapProfiler.collectGarbage');
    return (await chrome.send('Runtime.getHeapUsage')).usedSize / MIB;
  };
  const before = await heap();

  await page.locator('input[type=file]').setInputFiles(path);
  const hash = await sum(path);
  await page.getByText(`SHA-256 ${hash}`).waitFor({ timeout: 1_200_000 });
  const after = await heap();

  expect(statSync(join(target, 'large.bin')).size).toBe(LARGE * MIB);
  expect(after - before).toBeLessThan(24);
  const coming = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download large.bin' }).click();
  const came = await (await coming).path();
  expect(await sum(came)).toBe(hash);
  await expect.poll(() => page.getByText(`SHA-256 ${hash}`).count()).toBe(2);
}, 2_400_000);

test('an upload goes on where it was after its way was cut, and after it was paused', async () => {
  const front = await Front.start(DIRECTIVES(world.port));
  onTestFinished(() => front.stop());
  const path = make('cut.bin', 256);
  const page = await files({ port: front.port, expected: /ERR_|status of 50/ });
  await page.locator('input[type=file]').setInputFiles(path);
  await until('some of it', async () => ((await moved(page)) > 5 ? true : undefined));

  await front.down();
  await page.getByRole('listitem').getByText(/Trying again/).waitFor();
  const kept = await moved(page);
  expect(kept).toBeGreaterThan(0);
  await front.up();
  await until('more of it', async () => ((await moved(page)) > kept ? true : undefined));
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Go on' }).click();

  await page.getByText(`SHA-256 ${await sum(path)}`).waitFor({ timeout: 300_000 });
  expect(await sum(join(target, 'cut.bin'))).toBe(await sum(path));
});

test('an upload that is given up leaves nothing on the node', async () => {
  const page = await files({ expected: /status of 409|ERR_ABORTED/ }); // the piece that is under way is waited for
  await page.locator('input[type=file]').setInputFiles(make('given-up.bin', 256));
  await until('some of it', async () => ((await moved(page)) > 2 ? true : undefined));

  await page.getByRole('button', { name: /^Cancel/ }).click();

  await until('nothing of it', () => (!existsSync(join(target, 'given-up.bin')) && readdirSync(target).length === 0 ? true : undefined));
  expect(await page.locator('progress').count()).toBe(0);
});
