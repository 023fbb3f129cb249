import { expect, onTestFinished, test } from 'vitest';
import { answered, mctl, signIn, somebody, visit, world } from '../world/browser';
import { Gate } from '../world/gate';
import { call } from '../world/http';
import { PASSWORD, Person } from '../world/person';
import { open } from '../world/terminal';

test('a person signs in with password and code through nginx, and out again', async () => {
  const who = await somebody('access');
  const page = await visit('nodes');

  await signIn(page, who);

  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
  const cookie = (await page.context().cookies()).find((c) => c.name === '__Host-session');
  expect(cookie).toMatchObject({ secure: true, httpOnly: true, sameSite: 'Strict', path: '/' });
  await page.locator('header summary').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Password').waitFor();
});

test('an invite leads to a password, a code and the first sign-in, all in the browser', async () => {
  const name = `new-${process.pid}`;
  const { secret } = JSON.parse(mctl(['users', 'add', name, '--roles=access', '--logins=root', '--format=json'])) as { secret: string };
  const page = await visit('nodes');
  await page.goto(`https://127.0.0.1:${world.front}/web/invite/${secret}`);
  await page.getByRole('heading', { name: `Welcome, ${name}` }).waitFor();
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByLabel('The same again').fill(PASSWORD);
  await page.getByText('I cannot scan it').click();
  const who = Person.of(name, await page.locator('#secret').innerText());
  await answered(page, '/webapi/invite/accept', async () => {
    await page.getByLabel('The six digits the app shows').fill(await who.unspent());
    await page.getByRole('button', { name: 'Set password and finish' }).click();
  });
  who.spend();

  await page.getByRole('link', { name: 'Sign in here' }).click();
  await signIn(page, who);
  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
});

test('what is to be read stands before the form, each time, and is text whatever it says', async () => {
  const gate = await Gate.start('  message_of_the_day: "Work here is <b>recorded</b>.\\nMind the step."\n');
  onTestFinished(() => gate.stop());
  const who = await gate.person('reader', 'access');
  const page = await visit('nodes', { port: gate.port });
  const message = page.getByText('Work here is <b>recorded</b>.');

  await message.waitFor();
  expect(await message.innerText()).toBe('Work here is <b>recorded</b>.\nMind the step.');
  expect(await page.getByLabel('Password').count()).toBe(0);
  await page.keyboard.press('Enter');
  await signIn(page, who);
  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();

  await page.locator('header summary').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await message.waitFor();
});

test('a wrong password is told in words, and the code is asked for anew', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { language: 'zh-CN' });

  await answered(page, '/webapi/sessions/web', async () => {
    await page.getByLabel('用户名').fill(who.name);
    await page.getByLabel('密码').fill('not it');
    await page.getByLabel('身份验证器中的验证码').fill('000000');
    await page.getByRole('button', { name: '登录' }).click();
  });

  await page.getByRole('alert').getByText('用户名、密码或验证码不正确').waitFor();
  expect(await page.getByLabel('身份验证器中的验证码').inputValue()).toBe('');
});

test('a lock-out says until when and what to do, and does not say whether there is such a user', async () => {
  const page = await visit('nodes', { expected: /status of (401|429)/ });
  await page.getByLabel('User').fill(`nobody-${process.pid}`);
  const said: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    await page.getByLabel('Password').fill(`not it ${i}`);
    said.push(await answered(page, '/webapi/sessions/web', () => page.getByRole('button', { name: 'Sign in', exact: true }).click()));
    await page.getByRole('alert').getByText(i < 4 ? 'User, password or code is wrong.' : /^Closed until \d+:\d\d/).waitFor();
  }
  expect(said).toEqual([401, 401, 401, 401, 401]);
  await page.getByText('Ask your administrator for a reset link: it opens the account at once.').waitFor();
});

test('one sees where one is signed in, and signs the others out: their terminals end at once', async () => {
  const who = await somebody('access');
  const cookie = await who.cookie(world.port);
  const there = await visit('nodes', { cookie, expected: /status of 401/ });
  await open(there);
  const here = await visit('nodes', { cookie: await who.cookie(world.port) });
  await here.evaluate(() => (location.hash = '#/account'));
  const list = here.locator('section', { hasText: 'Where you are signed in' });
  await list.getByText('this one').waitFor();
  expect(await list.getByRole('listitem').count()).toBe(2);

  await list.getByRole('button', { name: 'Sign out all others' }).click();

  await expect.poll(() => list.getByRole('listitem').count()).toBe(1);
  await there.getByText('this browser was signed out').or(there.getByLabel('Password')).first().waitFor();
  expect((await call(world.port, 'GET', '/webapi/session', undefined, { cookie: `__Host-session=${cookie}` })).status).toBe(401);
});
