import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { somebody, visit, world } from '../world/browser';
import { until } from '../world/process';

const SIZE = 9 * 1024 * 1024;

test('a file goes up in pieces through nginx, comes down whole, and is told with its hash', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'moongate-files-'));
  try {
    const data = Buffer.alloc(SIZE).map((_, i) => (i * 31 + (i >> 12)) & 255);
    const sum = createHash('sha256').update(data).digest('hex');
    writeFileSync(join(dir, 'weights.bin'), data);
    const target = mkdtempSync(join(tmpdir(), 'moongate-target-'));
    // Somebody new: others move files, too.
    const who = await somebody('vendor');
    const page = await visit('nodes', { cookie: await who.cookie(world.port) });
    await page.getByRole('button', { name: 'Connect to gpu-1' }).first().click();
    await page.getByRole('dialog').getByRole('link', { name: 'Files' }).click();
    await page.getByRole('heading', { name: 'Files' }).waitFor();
    await page.evaluate((path) => { location.hash = `${location.hash.split('?')[0]}?path=${encodeURIComponent(path)}`; }, target);
    await page.getByText('This directory is empty.').waitFor();

    await page.locator('input[type=file]').setInputFiles(join(dir, 'weights.bin'));

    await page.getByText(`SHA-256 ${sum}`).waitFor();
    expect(readFileSync(join(target, 'weights.bin')).equals(data)).toBe(true);
    const coming = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download weights.bin' }).click();
    const came = readFileSync(await (await coming).path());
    expect(createHash('sha256').update(came).digest('hex')).toBe(sum);
    await expect.poll(() => page.getByText(`SHA-256 ${sum}`).count()).toBe(2);
    rmSync(target, { recursive: true });
    await page.close();

    const seen = await visit('recordings', { cookie: world.admin });
    const of = (state: string) => seen.getByRole('row').filter({ hasText: new RegExp(`${who.name}.*sftp.*${state}`) });
    await until('all to be complete', async () => ((await of('').count()) > 0 && (await of('').count()) === (await of('Complete').count()) ? true : undefined));
    await of('Complete').first().click();
    await seen.getByText('Nothing was on a screen in this session.').waitFor();
    await seen.getByRole('button', { name: 'Commands' }).click();
    await seen.getByRole('complementary', { name: 'Commands' }).getByText(/weights\.bin/).first().waitFor();
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('names that are no text are listed, and what lands leaves one on the way to where one goes', async () => {
  const target = mkdtempSync(join(tmpdir(), 'moongate-target-'));
  try {
    mkdirSync(join(target, 'inside'));
    for (const last of [0xfe, 0xff]) writeFileSync(Buffer.from([...Buffer.from(`${target}/odd-`), last]), '');
    const who = await somebody('vendor');
    const page = await visit('nodes', { cookie: await who.cookie(world.port), expected: /ERR_ABORTED/ });
    const name = (text: string) => page.locator('td.name').filter({ hasText: text });
    await page.getByRole('button', { name: 'Connect to gpu-1' }).first().click();
    await page.getByRole('dialog').getByRole('link', { name: 'Files' }).click();
    await page.getByRole('heading', { name: 'Files' }).waitFor();
    await page.evaluate((path) => { location.hash = `${location.hash.split('?')[0]}?path=${encodeURIComponent(path)}`; }, target);
    await expect.poll(() => name('odd-\ufffd').count()).toBe(2);

    // The last answer about a file, and the first about a directory: both on their way.
    let [land, look] = [() => {}, () => {}];
    const [landed, looked] = [new Promise<void>((done) => (land = done)), new Promise<void>((done) => (look = done))];
    await page.route('**/finish', async (route) => { await landed; await route.continue(); });
    await page.route('**/webapi/files/list', async (route) => {
      if (route.request().postData()?.includes('/inside')) await looked;
      await route.continue().catch(() => {});
    });
    const finishing = page.waitForRequest('**/finish');
    await page.locator('input[type=file]').setInputFiles({ name: 'small.txt', mimeType: 'text/plain', buffer: Buffer.from('small') });
    await finishing;
    const listing = page.waitForRequest((request) => request.url().endsWith('/files/list') && Boolean(request.postData()?.includes('/inside')));
    await name('inside').click();
    await listing;
    land();
    await page.getByText('SHA-256').waitFor();
    look();

    await page.getByText('This directory is empty.').waitFor();
    expect(await page.locator('[aria-current=location]').innerText()).toBe('inside');
  } finally {
    rmSync(target, { recursive: true });
  }
});
