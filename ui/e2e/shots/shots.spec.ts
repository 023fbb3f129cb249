// Pictures of every place in both languages, light and dark, wide and narrow: `cargo xtask ui shots [folder]`. Something is
// going on in them: a session, another that ended, an invited user.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, test } from 'vitest';
import { mctl, somebody, visit, world } from '../world/browser';
import { settled } from '../world/page';
import { PLACES } from '../world/places';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

const folder = process.env['MOONGATE_SHOTS'] ?? '/tmp/moongate-shots';
const LOOKS = [
  { name: 'en-light', language: 'en', theme: 'light', width: 1280, height: 800 },
  { name: 'zh-dark', language: 'zh-CN', theme: 'dark', width: 1280, height: 800 },
  { name: 'en-dark', language: 'en', theme: 'dark', width: 1280, height: 800 },
  { name: 'zh-light', language: 'zh-CN', theme: 'light', width: 1280, height: 800 },
  { name: 'en-contrast', language: 'en', theme: 'contrast', width: 1280, height: 800 },
  { name: 'en-narrow', language: 'en', theme: 'light', width: 360, height: 740 },
] as const;

async function keep(page: Page, look: string, name: string): Promise<void> {
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(folder, look, `${name}.png`), animations: 'disabled' });
}

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  mctl(['users', 'add', `guest-${Date.now() % 1e6}`, '--roles=vendor', '--logins=root,ubuntu', '--format=json']);
});
afterAll(() => console.log(`pictures are in ${folder}`));

test.each(LOOKS)('$name', async (look) => {
  const works = await visit('nodes', { cookie: world.vendor });
  await open(works);
  await type(works, 'printf "\\033[1;32m%s\\033[0m\\n" "all good"; ls --color=always /');
  await shows(works, /^all good$/m);
  const out = await visit('nodes', { ...look, expected: /status of (401|429)/ });
  await settled(out);
  await keep(out, look.name, 'sign-in');
  for (let i = 0; i < 5; i += 1) {
    await out.locator('#user').fill(`nobody-${look.name}`);
    await out.locator('#password').fill(`not it ${i}`);
    const answer = out.waitForResponse((r) => r.url().endsWith('/webapi/sessions/web'));
    await out.locator('button[type=submit]').click();
    await answer;
  }
  await out.locator('[role=alert]').waitFor();
  await keep(out, look.name, 'lock-out');
  const guest = `guest-${look.name}-${Date.now() % 1e6}`;
  mctl(['users', 'add', guest, '--roles=vendor', '--logins=root', '--format=json']);
  const { secret } = JSON.parse(mctl(['users', 'reset', guest, '--format=json'])) as { secret: string };
  await out.emulateMedia({ colorScheme: look.theme === 'light' ? 'light' : 'dark' });
  await out.goto(`https://127.0.0.1:${world.front}/web/reset/${secret}`);
  await out.locator('#picture').waitFor();
  await keep(out, look.name, 'reset');

  const page = await visit('nodes', { ...look, cookie: world.admin });
  for (const place of PLACES) {
    await page.evaluate((place) => (location.hash = `#/${place}`), place);
    await settled(page);
    await keep(page, look.name, place);
  }
  await page.evaluate(() => (location.hash = '#/nodes'));
  await settled(page);
  await page.getByRole('button', { name: /(Connect to|连接到) ?gpu-1/ }).click();
  await page.locator('dialog[open]').waitFor();
  await keep(page, look.name, 'connect');
  await page.locator('dialog[open] button[type=submit]').click();
  await shows(page, /[#$] *$/m);
  await type(page, 'ls --color=always /; echo 你好');
  await shows(page, /^你好$/m);
  await keep(page, look.name, 'terminal');
  await page.getByRole('button', { name: /^(Split|分屏|拆分)$/ }).first().click();
  await until('a second shell', async () => ((await text(page)).match(/[#$]$/gm)?.length ?? 0) >= 2 || undefined);
  await keep(page, look.name, 'split');
  await page.locator('footer a').first().click();
  await page.getByRole('button', { name: /^(Upload|上传)/ }).waitFor();
  await keep(page, look.name, 'files');
  await page.evaluate(() => (location.hash = '#/recordings'));
  await page.locator('tbody tr').first().waitFor();
  await page.locator('tbody tr').first().focus();
  await page.keyboard.press('Enter');
  await page.locator('.controls').waitFor();
  await keep(page, look.name, 'player');
  await page.keyboard.press('t');
  await page.locator('.transcript .line, .transcript p:not([role])').first().waitFor({ timeout: 10_000 }).catch(() => {});
  await keep(page, look.name, 'transcript');
  await page.evaluate(() => (location.hash = '#/roles?role=vendor'));
  await settled(page);
  await page.getByRole('button', { name: /^(Edit|编辑)$/ }).click();
  await page.locator('.editor textarea').fill((await page.locator('.editor textarea').inputValue()).replace('max_session_ttl', 'max_sesion_ttl').replace('port_forwarding: true', 'port_forwarding: false'));
  await keep(page, look.name, 'role-edit');
  await page.getByRole('button', { name: /^(See what changes|查看更改)$/ }).click();
  await keep(page, look.name, 'role-diff');
  await page.evaluate(() => (location.hash = '#/events'));
  await settled(page);
  await page.locator('tbody tr').first().click();
  await keep(page, look.name, 'event');
  await page.keyboard.press('Escape');
  await page.evaluate(() => (location.hash = '#/tokens'));
  await settled(page);
  await page.getByRole('button', { name: /^(Make a token|生成令牌)$/ }).click();
  await page.locator('.notice').waitFor();
  await keep(page, look.name, 'token');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('gp');
  await page.locator('[role=option]').first().waitFor();
  await keep(page, look.name, 'palette');
  await page.keyboard.press('Escape');
  await page.locator('header summary').click();
  await keep(page, look.name, 'menu');
  await page.evaluate(() => (location.hash = '#/no-such-place'));
  await keep(page, look.name, 'nothing');
  const other = await visit('nodes', { ...look, cookie: await (await somebody('access')).cookie(world.port), expected: /status of 401/ });
  await settled(other);
  await other.keyboard.press('Control+Shift+L');
  await other.getByRole('dialog').waitFor();
  await keep(other, look.name, 'locked');
}, 240_000);
