import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { visit, world } from '../world/browser';
import { until } from '../world/process';
import { open, shows, type } from '../world/terminal';

/** Opens the newest recording whose row has this. */
async function newest(page: Page, row: RegExp): Promise<string> {
  await page.getByRole('row').filter({ hasText: row }).first().click();
  await page.getByRole('button', { name: 'Play' }).waitFor();
  return /#\/recordings\/([^?]+)/.exec(page.url())![1]!;
}

/** The first segment of a recording, as the authority keeps it. */
function segment(folder: string, id: string): string {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile()).map((f) => join(f.parentPath, f.name));
  return all.filter((path) => path.endsWith(`/recordings/${id}/00000000.seg`))[0]!;
}

test('an auditor seeks in a recording and proves it; a flipped byte turns the badge red', async () => {
  const works = await visit('nodes', { cookie: world.vendor });
  await open(works, 'gpu-1');
  await type(works, 'echo early-$((1))');
  await shows(works, /^early-1$/m);

  await type(works, 'echo later-$((2))');
  await shows(works, /^later-2$/m);
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();

  const page = await visit('recordings', { cookie: world.admin });
  await page.getByRole('row').filter({ hasText: /vic.*Complete/ }).first().waitFor();
  const id = await newest(page, /vic.*Complete/);
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
