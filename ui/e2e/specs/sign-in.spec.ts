import { expect, test } from 'vitest';
import { somebody, visit } from '../world/browser';
import { PASSWORD } from '../world/person';

test('a person signs in with password and code through nginx, and out again', async () => {
  const who = await somebody('access');
  const page = await visit('nodes');

  await page.getByLabel('User').fill(who.name);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByLabel('Code from your authenticator').fill(await who.code());
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();

  await page.getByRole('cell', { name: 'gpu-1' }).first().waitFor();
  const cookie = (await page.context().cookies()).find((c) => c.name === '__Host-session');
  expect(cookie).toMatchObject({ secure: true, httpOnly: true, sameSite: 'Strict', path: '/' });
  await page.locator('header summary').click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Password').waitFor();
});

test('a wrong password is told in words, and the code is asked for anew', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { language: 'zh-CN' });

  await page.getByLabel('用户名').fill(who.name);
  await page.getByLabel('密码').fill('not it');
  await page.getByLabel('身份验证器中的验证码').fill('000000');
  await page.getByRole('button', { name: '登录' }).click();

  await page.getByRole('alert').getByText('用户名、密码或验证码不正确').waitFor();
  expect(await page.getByLabel('身份验证器中的验证码').inputValue()).toBe('');
});
