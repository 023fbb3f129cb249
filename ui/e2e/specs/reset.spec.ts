import { expect, test } from 'vitest';
import { serious } from '../world/axe';
import { answered, mctl, signIn, somebody, visit, world } from '../world/browser';
import { call } from '../world/http';
import { counted, PASSWORD, Person } from '../world/person';

const reset = (name: string) => (JSON.parse(mctl(['users', 'reset', name, '--format=json'])) as { secret: string }).secret;

test('a reset link in the browser: live rules, a code, and a way in; the old password and the used link are over', async () => {
  const who = await somebody('access');
  const secret = reset(who.name);
  const page = await visit('nodes', { language: 'en', expected: /status of 404/ });
  await page.goto(`https://127.0.0.1:${world.front}/web/reset/${secret}`);
  await page.getByRole('heading', { name: `New password for ${who.name}` }).waitFor();
  expect(await serious(page)).toEqual([]);
  const fresh = `${PASSWORD} again`;
  await page.getByText('I cannot scan it').click();
  const person = Person.of(who.name, await page.locator('#secret').innerText());

  await page.getByLabel('Password', { exact: true }).fill('short');
  await expect.poll(() => page.locator('.rules li.good').count()).toBe(1);
  await page.getByLabel('Password', { exact: true }).fill(fresh);
  await page.getByLabel('The same again').fill(fresh);
  await expect.poll(() => page.locator('.rules li.good').count()).toBe(3);
  await answered(page, '/webapi/invite/accept', async () => {
    await page.getByLabel('The six digits the app shows').fill(await person.unspent());
    await page.getByRole('button', { name: 'Set password and finish' }).click();
  });
  person.spend();
  await page.getByRole('heading', { name: 'Done' }).waitFor();
  expect(await serious(page)).toEqual([]);
  const old = await counted(() => call(world.port, 'POST', '/webapi/sessions/web', { user: who.name, password: PASSWORD, otp: '000000' }));
  expect(old.status).toBe(401);

  await page.getByRole('link', { name: 'Sign in here' }).click();
  await signIn(page, person, fresh);
  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
  await page.goto(`https://127.0.0.1:${world.front}/web/reset/${secret}`);
  await page.getByRole('heading', { name: 'This link does not work' }).waitFor();
});

test('a reset link speaks Chinese, and English at a press', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { language: 'zh-CN' });
  await page.goto(`https://127.0.0.1:${world.front}/web/reset/${reset(who.name)}`);
  await page.getByRole('heading', { name: `为 ${who.name} 设置新密码` }).waitFor();
  expect(await serious(page)).toEqual([]);
  await page.getByRole('button', { name: 'English' }).click();
  await page.getByRole('heading', { name: `New password for ${who.name}` }).waitFor();
});

test('a reset page in high contrast, as the system asks or as it was chosen in the app; its picture can be read by a camera', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { theme: 'auto' });
  await page.emulateMedia({ contrast: 'more' });
  await page.goto(`https://127.0.0.1:${world.front}/web/reset/${reset(who.name)}`);
  await page.locator('#picture').waitFor();
  const looks = (of: string, what: 'backgroundColor' | 'color') => page.locator(of).evaluate((element, what) => getComputedStyle(element)[what], what);
  expect([await looks('body', 'backgroundColor'), await looks('body', 'color')]).toEqual(['rgb(0, 0, 0)', 'rgb(255, 255, 255)']);
  expect(await serious(page)).toEqual([]);

  await page.emulateMedia({ contrast: 'no-preference', forcedColors: 'active', colorScheme: 'dark' });
  expect(await looks('#picture', 'backgroundColor')).toBe('rgb(255, 255, 255)');

  await page.emulateMedia({ forcedColors: 'none', colorScheme: 'light' });
  await page.evaluate(() => localStorage.setItem('theme', 'contrast'));
  await page.reload();
  await page.locator('#picture').waitFor();
  expect(await looks('body', 'backgroundColor')).toBe('rgb(0, 0, 0)');
});
