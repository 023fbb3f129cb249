// Pictures of every place in both languages, light and dark, wide and narrow: `cargo xtask ui shots [folder]`. Something is
// going on in them: a session, another that ended, an invited user, files; and each dialog is open in one.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
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

const target = mkdtempSync(join(tmpdir(), 'moongate-shots-'));

async function keep(page: Page, look: string, name: string): Promise<void> {
  await page.evaluate(() => document.fonts.ready);
  await page.screenshot({ path: join(folder, look, `${name}.png`), animations: 'disabled' });
}
async function at(page: Page, place: string): Promise<void> {
  await page.evaluate((place) => (location.hash = `#/${place}`), place);
  await settled(page);
}
const press = (page: Page, name: RegExp) => page.getByRole('button', { name }).first().click();

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  mctl(['users', 'add', `guest-${Date.now() % 1e6}`, '--roles=vendor', '--logins=root,ubuntu', '--format=json']);
  writeFileSync(join(target, 'role.yaml'), 'kind: role\nversion: v7\nmetadata:\n  name: asked\nspec:\n  options:\n    record_session:\n      notice: consent\n  allow:\n    logins: ["{{internal.logins}}"]\n    node_labels:\n      "*": "*"\n');
  mctl(['create', '--force', join(target, 'role.yaml')]);
  for (const name of ['checkpoints', 'data', 'logs']) mkdirSync(join(target, name));
  writeFileSync(join(target, '训练.py'), 'print("你好")\n'.repeat(80));
  writeFileSync(join(target, 'weights.safetensors'), Buffer.alloc(3_400_000, 7));
});
afterAll(() => {
  rmSync(target, { recursive: true });
  console.log(`pictures are in ${folder}`);
});

type Look = (typeof LOOKS)[number];

/** Who is not signed in: the form, its worst day, a link, a lock, a question first. */
async function outside(look: Look): Promise<void> {
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
  const other = await visit('nodes', { ...look, cookie: await (await somebody('asked')).cookie(world.port), expected: /status of 401/ });
  await settled(other);
  await press(other, /(Connect to|连接到) ?gpu-1/);
  await other.locator('dialog[open] button[type=submit]').click();
  await other.locator('#told-title').waitFor();
  await keep(other, look.name, 'consent');
  await other.keyboard.press('Control+Shift+L');
  await other.getByRole('dialog').waitFor();
  await keep(other, look.name, 'locked');
}

async function work(page: Page, look: string): Promise<void> {
  await at(page, 'nodes');
  await page.locator('.star').first().click();
  await press(page, /(Connect to|连接到) ?gpu-1/);
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'connect');
  await page.locator('dialog[open] button[type=submit]').click();
  await shows(page, /[#$] *$/m);
  await type(page, 'ls --color=always /; echo 你好 snake_case');
  await shows(page, /^你好/m);
  await keep(page, look, 'terminal');
  await press(page, /^(Split|分屏)$/);
  await until('a second shell', async () => ((await text(page)).match(/[#$]$/gm)?.length ?? 0) >= 2 || undefined);
  await keep(page, look, 'split');
  await at(page, 'nodes');
  await keep(page, look, 'home');
  await page.evaluate(() => (location.hash = '#/terminals'));
  await page.locator('footer a').first().click();
  await page.getByRole('button', { name: /^(Upload|上传)/ }).waitFor();
  await page.evaluate((path) => { location.hash = `${location.hash.split('?')[0]}?path=${encodeURIComponent(path)}`; }, target);
  await page.getByText('weights.safetensors').first().waitFor();
  const bring = () => page.locator('input[type=file]').setInputFiles({ name: `${look}.txt`, mimeType: 'text/plain', buffer: Buffer.from('seen') });
  await bring();
  await page.getByText(/SHA-256 /).first().waitFor();
  await page.locator('.name', { hasText: `${look}.txt` }).waitFor();
  await keep(page, look, 'files');
  await bring();
  await page.getByRole('button', { name: /^(Replace it|替换)/ }).waitFor();
  await keep(page, look, 'files-twice');
}

async function replay(page: Page, look: string): Promise<void> {
  await at(page, 'screens?text=good');
  await page.locator('tbody tr').first().waitFor();
  await keep(page, look, 'found');
  await at(page, 'recordings');
  const row = (who: RegExp) => page.getByRole('row').filter({ hasText: who }).first();
  await row(/vic.*(Going on|进行中)/).click();
  await shows(page, /^all good$/m);
  await keep(page, look, 'player');
  await page.keyboard.press('t');
  await page.locator('.transcript .line').first().waitFor();
  await keep(page, look, 'transcript');
  await page.keyboard.press('?');
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'keys');
  await page.keyboard.press('Escape');
  await at(page, 'recordings');
  await row(/vic.*(Complete|完整)/).click();
  await shows(page, /^all good$/m);
  await press(page, /^(Verify|验证)$/);
  await page.locator('.badge.proven').click();
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'proof');
  await page.keyboard.press('Escape');
  await at(page, 'recordings');
  await row(/sftp/).click();
  await page.locator('.controls').waitFor();
  await press(page, /^(Commands|命令)$/);
  await page.locator('aside').waitFor();
  await keep(page, look, 'player-files');
}

async function operate(page: Page, look: string): Promise<void> {
  await at(page, 'live');
  await press(page, /^(End|终止)$/);
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'end');
  await page.keyboard.press('Escape');
  await at(page, 'roles?role=vendor');
  await press(page, /^(Edit|编辑)$/);
  const area = page.locator('.editor textarea');
  const good = (await area.inputValue()).replace('port_forwarding: true', 'port_forwarding: false').replace('notice: silent', 'notice: banner');
  await area.fill(good.replace('forward_agent', 'forward_agnet').replace(/logins:\n *- /, 'logins: '));
  await page.locator('#role-marks .bad').waitFor();
  await keep(page, look, 'role-edit');
  await area.fill(good);
  await press(page, /^(See what changes|查看更改)$/);
  await keep(page, look, 'role-diff');
  await at(page, 'users');
  await press(page, /^(New user|新建用户)$/);
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'user-new');
  await page.keyboard.press('Escape');
  await press(page, /^(Remove|删除)$/);
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'remove');
  await page.keyboard.press('Escape');
  await at(page, 'events');
  await page.locator('.bar summary').click();
  await keep(page, look, 'columns');
  await page.locator('.bar summary').click();
  await page.locator('tbody tr').first().click();
  await page.locator('dialog[open]').waitFor();
  await keep(page, look, 'event');
  await page.keyboard.press('Escape');
  await at(page, 'tokens');
  await press(page, /^(Make a token|生成令牌)$/);
  await page.locator('.notice').waitFor();
  await keep(page, look, 'token');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('gp');
  await page.locator('[role=option]').first().waitFor();
  await keep(page, look, 'palette');
  await page.keyboard.press('Escape');
  await page.locator('header summary').click();
  await keep(page, look, 'menu');
  await page.evaluate(() => (location.hash = '#/no-such-place'));
  await keep(page, look, 'nothing');
}

test.each(LOOKS)('$name', async (look) => {
  const works = await visit('nodes', { cookie: world.vendor });
  const say = 'printf "\\033[1;32m%s\\033[0m\\n" "all good"; ls --color=always /';
  await open(works);
  await type(works, say);
  await shows(works, /^all good$/m);
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();
  await works.evaluate(() => (location.hash = '#/nodes'));
  await open(works);
  await type(works, say);
  await until('both to be shown', async () => ((await text(works)).includes('all good') ? true : undefined));
  await outside(look);

  const page = await visit('recordings', { ...look, cookie: world.admin, expected: /status of 409/ });
  await page.getByRole('row').filter({ hasText: /vic/ }).nth(1).waitFor();
  for (const place of PLACES) {
    await at(page, place);
    await keep(page, look.name, place);
  }
  await work(page, look.name);
  await replay(page, look.name);
  await operate(page, look.name);
}, 400_000);
