import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serious, seriousInAnyTheme } from '../world/axe';
import { answered, signIn, somebody, tools, visit, world } from '../world/browser';
import { Gate } from '../world/gate';
import { call } from '../world/http';
import { PASSWORD, type Person } from '../world/person';
import { until } from '../world/process';
import { open, shows, type } from '../world/terminal';

/** What a locked browser's page hears to whatever it asked. */
const expected = /status of (400|401|429)/;
const lock = (page: Page) => page.getByRole('dialog', { name: 'Locked' });

const UNLOCK = '/webapi/session/unlock';

async function unlock(page: Page, who: Person): Promise<void> {
  await lock(page).getByLabel('Password').fill(PASSWORD);
  expect(await answered(page, UNLOCK, async () => {
    await lock(page).getByLabel('Code from your authenticator').fill(await who.unspent());
    await lock(page).getByRole('button', { name: 'Unlock', exact: true }).click();
  })).toBe(200);
  who.spend();
  await lock(page).waitFor({ state: 'detached' });
}

/** Everything that is there for somebody who sees, or hears, the page. */
const whole = (page: Page) => page.locator('body').ariaSnapshot();

test('a browser locked by hand shows nothing, in no tab and not when loaded anew, and its shell goes on', async () => {
  const who = await somebody('access');
  const cookie = await who.cookie(world.port);
  const page = await visit('nodes', { cookie, expected });
  await open(page);
  const other = await page.context().newPage();
  await other.goto(`https://127.0.0.1:${world.front}/#/nodes`);
  await other.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
  await type(page, 'me=$$; (sleep 3; echo behind-$((40 + 2))) & echo ready-$((1 + 1))');
  await shows(page, /^ready-2$/m);

  await page.keyboard.press('Control+Shift+L');

  for (const one of [page, other]) {
    await lock(one).waitFor();
    expect(await whole(one)).not.toMatch(/gpu-|ready|root@|Terminals/);
    expect(await one.title()).toBe('Locked · Moongate');
  }
  expect(await seriousInAnyTheme(page)).toEqual([]);
  // Nothing is typed into what is hidden, and Tab stays here.
  await page.keyboard.press('Control+k');
  for (let i = 0; i < 12; i += 1) await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement === document.body || Boolean(document.activeElement?.closest('[role=dialog]')))).toBe(true);
  for (const [method, path] of [['GET', '/v1/nodes'], ['GET', '/webapi/terminals'], ['POST', '/webapi/terminal/tickets']] as const) {
    const answer = await call(world.port, method, path, method === 'POST' ? {} : undefined, { cookie: `__Host-session=${cookie}` });
    expect([answer.status, (JSON.parse(answer.text) as { code: string }).code], path).toEqual([401, 'locked']);
  }

  await lock(page).getByLabel('Password').fill('not it');
  expect(await answered(page, UNLOCK, () => lock(page).getByRole('button', { name: 'Unlock', exact: true }).click())).toBe(401);
  await lock(page).getByRole('alert').getByText('It stays locked').waitFor();
  expect(await serious(page)).toEqual([]);
  await other.reload();
  await lock(other).waitFor();
  await other.getByText(`${who.name} is signed in here.`).waitFor();
  expect(await whole(other)).not.toMatch(/gpu-|Places/);

  // It asks now and then whether it still is locked. What is answered to that, and comes late, locks nothing again.
  let late: (() => Promise<void>) | undefined;
  await page.route('**/webapi/session', async (route) => {
    const response = await route.fetch();
    if (late) return route.fulfill({ response });
    late = () => route.fulfill({ response });
  });
  const answer = await until('a question', () => late);
  await unlock(page, who);
  const heard = page.waitForResponse((r) => r.url().endsWith('/webapi/session') && r.status() === 401);
  await answer();
  await heard;
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(drawn)));
  expect(await lock(page).count()).toBe(0);

  await shows(page, /behind-42$/m);
  await type(page, '[ $me = $$ ] && echo same-$((1 + 1))');
  await shows(page, /^same-2$/m);
  await other.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
});

test('the page locks itself in Chinese too, and another person signs out and in', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { cookie: await who.cookie(world.port), language: 'zh-CN', expected: /status of (400|401|429)|ERR_FAILED/ });
  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('锁定');
  await page.keyboard.press('Enter');

  const dialog = page.getByRole('dialog', { name: '已锁定' });
  await dialog.getByText(`${who.name} 已在此登录。`).waitFor();
  expect(await serious(page)).toEqual([]);
  expect(await whole(page)).not.toMatch(/gpu-|Unlock|Password|Locked|Sign/);
  // It stays locked, and says so, until the gate has heard that somebody leaves.
  await page.route('**/webapi/sessions/web', (route) => route.abort());
  await dialog.getByRole('button', { name: '退出登录' }).click();
  await dialog.getByRole('alert').getByText('您在此仍处于登录状态').waitFor();
  expect(await page.getByLabel('用户名').count()).toBe(0);
  await page.unroute('**/webapi/sessions/web');

  await page.getByLabel('用户名').waitFor();
  expect(await dialog.count()).toBe(0);
});

let gate: Gate;
beforeAll(async () => {
  gate = await Gate.start('  web_lock_timeout: 20s\n  web_idle_timeout: 60s\n');
});
afterAll(async () => gate?.stop());

test('a browser nobody is at is locked though its terminal prints, and a passkey opens it', async () => {
  const who = await gate.person('pat', 'access');
  const page = await visit('nodes', { port: gate.port, expected });
  const cdp = await tools(page);
  await cdp.send('WebAuthn.enable');
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  await page.goto(`https://localhost:${gate.port}/#/account`);
  await signIn(page, who);
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByLabel('What to call it').fill('laptop');
  await page.getByLabel('Your password, once more').fill(PASSWORD);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText('laptop').waitFor();
  await page.evaluate(() => (location.hash = '#/nodes'));
  await open(page);
  // It asks the terminal, too, which answers as if somebody had typed.
  await type(page, "n=0; while sleep .3; do n=$((n+1)); printf 'tick-%s \\033[6n' $n; done");
  await shows(page, /tick-3 /);
  // Who does something stays.
  const began = Date.now();
  await until('longer than the limit', async () => {
    await page.mouse.move(300 + Math.random() * 200, 300);
    return Date.now() - began > 25_000 || undefined;
  });
  expect(await lock(page).count()).toBe(0);

  await lock(page).waitFor();
  await lock(page).getByRole('button', { name: 'Unlock with a passkey' }).click();

  await lock(page).waitFor({ state: 'detached' });
  // What the terminal answered to what it drew just now is on the line: away with it.
  await until('an empty line', async () => {
    await page.keyboard.press('Control+c');
    // A shell that prepares its prompt begins anew when it is interrupted again.
    return shows(page, /[#$]$/, 5_000);
  });
  // An interrupt that comes late ends what is typed after it.
  await until('the shell', async () => {
    await type(page, 'clear; echo here-$((1 + 1))');
    return shows(page, /^here-2$/m, 5_000);
  });

  // Away for longer: the gate signs out, and the shell ends.
  await page.getByLabel('User').waitFor();
  expect(await lock(page).count()).toBe(0);
  const ended = () => gate.mctl(['audit', 'ls', '--limit=1000', '--format=json']);
  await until('the end of the shell', () => (/"session\.end"/.test(ended()) ? true : undefined));
  expect(ended()).toMatch(/"user\.unlock"/);
});
