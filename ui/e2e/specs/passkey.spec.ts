import { expect, test } from 'vitest';
import { signIn, somebody, tools, visit, world } from '../world/browser';
import { PASSWORD } from '../world/person';

test('a passkey signs in alone and beside the password, and not when it checked nobody', async () => {
  const who = await somebody('access');
  const page = await visit('nodes', { expected: /status of 400/ });
  const cdp = await tools(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  // A relying party has a name: this address is the gate's second.
  await page.goto(`https://localhost:${world.port}/#/nodes`);
  const passkey = page.getByRole('button', { name: 'Sign in with a passkey' });
  const inside = page.getByRole('navigation', { name: 'Places' });
  const leave = async () => {
    await page.locator('header summary').click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await passkey.waitFor();
  };
  await signIn(page, who);
  await inside.waitFor();

  await page.locator('header summary').click();
  await page.getByRole('link', { name: 'Your account' }).click();
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByLabel('What to call it').fill('laptop');
  await page.getByLabel('Your password, once more').fill(PASSWORD);
  await page.getByRole('button', { name: 'Go on' }).click();
  await page.getByText('laptop').waitFor();

  await leave();
  await passkey.click();
  await inside.waitFor();
  await leave();
  await page.getByLabel('User').fill(who.name);
  await page.getByLabel('Password').fill(PASSWORD);
  await passkey.click();
  await inside.waitFor();
  await leave();
  await page.getByLabel('User').fill('');
  await page.getByLabel('Password').fill('');
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await passkey.click();
  await expect.poll(() => passkey.isEnabled()).toBe(true);
  expect(await inside.count()).toBe(0);
});
