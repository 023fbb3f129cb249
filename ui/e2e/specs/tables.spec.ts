import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { mctl, somebody, visit, world } from '../world/browser';
import { settled } from '../world/page';
import { open, shows, type } from '../world/terminal';

test('ten thousand nodes: a filter in the address, a few dozen rows drawn, the last one by one key', async () => {
  const page = await visit('nothing', { cookie: world.admin });
  await page.route('**/v1/nodes', (route) => {
    const items = Array.from({ length: 10_000 }, (_, i) => ({
      id: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`, name: `gpu-${i}`, labels: { zone: `z${i % 7}`, serial: `s${i}` },
      last_seen: '2026-01-01T00:00:00.000Z', liveness: 'online', logins: ['root'], version: '0.1.0',
    }));
    return route.fulfill({ json: { items } });
  });
  await page.goto(`https://127.0.0.1:${world.front}/#/nodes`);
  await page.getByText('10000 rows').waitFor();

  expect(await page.locator('tbody tr').count()).toBeLessThan(60);
  await page.locator('tbody tr[tabindex="0"]').focus();
  await page.keyboard.press('End');
  await page.locator('tr:focus', { hasText: 'gpu-9999' }).waitFor();

  const shown = page.locator('tbody tr[data-at]:visible');
  await page.evaluate(() => (location.hash = '#/nodes?filter=gpu-777'));
  await page.getByText('11 of 10000').waitFor();
  // Where the rows are drawn is looked at anew a frame after they became few.
  await shown.nth(10).waitFor();
  expect(await shown.count()).toBe(11);
  expect(await page.locator('tr:focus').count(), 'rows that became another one with the keyboard in them').toBe(0);
  await page.getByLabel('Filter').fill('nothing-like-it');
  await page.getByText('Nothing matches.').waitFor();
  expect(await shown.count()).toBe(0);
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await page.getByText('10000 rows').waitFor();
  await shown.first().filter({ hasText: 'gpu-0' }).waitFor();

  await page.getByLabel('Filter').fill('zone=z3 gpu-99');
  await page.getByText(/of 10000/).waitFor();
  expect(page.url()).toContain('filter=zone%3Dz3+gpu-99');
  await page.reload();
  expect(await page.getByLabel('Filter').inputValue()).toBe('zone=z3 gpu-99');
  await page.locator('tbody tr', { hasText: 'gpu-99' }).first().waitFor();
});

test('columns are chosen and stay chosen; what is shown can be taken along', async () => {
  const page = await visit('users', { cookie: world.admin });
  await settled(page);
  await page.getByText('Columns and export').click();
  await page.getByLabel('Made by').check();
  await page.getByRole('columnheader', { name: 'Made by' }).waitFor();

  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
  expect(readFileSync(await file.path(), 'utf8')).toMatch(/^\ufeffUser,Roles,.*Made by.*\r\nann,admin,/);
  await page.reload();
  await page.getByRole('columnheader', { name: 'Made by' }).waitFor();
});

test('what was typed for a new user stays until it is accepted; a Chinese comma is one', async () => {
  const page = await visit('users', { cookie: world.admin, expected: /status of 4\d\d/ });
  await page.getByRole('button', { name: 'New user' }).click();
  const form = page.getByRole('dialog');
  await form.getByLabel('Name').fill('lin');
  await form.getByLabel('Roles').fill('no-such-role');
  await form.getByRole('button', { name: 'Make an invite link' }).click();
  await form.getByRole('alert').waitFor();
  expect(await form.getByLabel('Name').inputValue()).toBe('lin');

  await form.getByLabel('Roles').fill('access\uff0cauditor');
  await form.getByRole('button', { name: 'Make an invite link' }).click();
  await page.getByText('Invite link: lin').waitFor();
  await page.getByRole('row').filter({ hasText: 'lin' }).filter({ hasText: 'auditor' }).waitFor();
});

test('a role is checked line by line, its changes are seen, and then kept', async () => {
  mctl(['users', 'ls']);
  const page = await visit('roles', { cookie: world.admin });
  await settled(page);
  await page.getByRole('button', { name: 'New role' }).click();
  const text = page.getByLabel('Role as YAML');
  const good = (await text.inputValue()).replace('new-role', 'from-browser');

  await text.fill(good.replace('[', ''));
  await page.locator('#role-marks .bad').first().waitFor();
  expect(await page.getByRole('button', { name: 'See what changes' }).isDisabled()).toBe(true);
  await text.fill(good.replace('max_session_ttl', 'max_sesion_ttl'));
  await page.getByText('Line 8: “max_sesion_ttl” is not known here').waitFor();
  await text.fill(good);
  await page.getByRole('button', { name: 'See what changes' }).click();
  await page.locator('.diff .added', { hasText: 'name: from-browser' }).waitFor();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('status').getByText('Saved').waitFor();

  expect(mctl(['get', 'role/from-browser'])).toContain('max_session_ttl: 8h');
  await page.getByRole('button', { name: 'Remove' }).click();
  await page.locator('dialog[open] input').fill('from-browser');
  await page.locator('dialog[open] button[type=submit]').click();
  await page.getByRole('button', { name: 'from-browser' }).waitFor({ state: 'detached' });
});

test('a token comes with the line to run; an event opens as fields and as JSON, and all of them as a file', async () => {
  const page = await visit('tokens', { cookie: world.admin });
  await settled(page);
  await page.getByLabel('Labels for its nodes').fill('env=dev');
  await page.getByRole('button', { name: 'Make a token' }).click();
  await page.locator('code', { hasText: /^moongate start --roles=node --token=\S+ --ca-pin=sha256:\w+ --auth-server=\S+$/ }).waitFor();

  await page.evaluate(() => (location.hash = '#/events?filter=token'));
  await page.locator('tbody tr').first().click();
  await page.locator('dialog dt', { hasText: 'event' }).first().waitFor();
  await page.getByRole('tab', { name: 'JSON' }).click();
  expect(JSON.parse(await page.locator('dialog pre').innerText())).toHaveProperty('uid');
  await page.keyboard.press('Escape');
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export all that match' }).click()]);
  expect(readFileSync(await file.path(), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as object).length).toBeGreaterThan(3);
});

test('live sessions and recordings are tables like the others: filter in the address, rows by key, an address of their own', async () => {
  const who = await somebody('vendor');
  const works = await visit('nodes', { cookie: await who.cookie(world.port) });
  await open(works, 'gpu-2');
  await type(works, 'echo at-work-$((1))');
  await shows(works, /^at-work-1$/m);

  const page = await visit(`live?filter=${who.name}+gpu-2`, { cookie: world.admin });
  await page.getByRole('row').filter({ hasText: 'root@gpu-2' }).first().waitFor();
  expect(await page.getByRole('row').filter({ hasText: 'root@gpu-1' }).count()).toBe(0);
  await page.getByLabel('Filter').fill('nobody-like-that');
  await page.getByText('Nothing matches.').waitFor();
  await page.getByRole('button', { name: 'Clear the filter' }).click();
  await page.getByLabel('Filter').fill(who.name);
  await page.getByText(/^1 (row|of \d+)$/).waitFor();
  await page.locator('tbody tr[tabindex="0"]').focus();
  await page.keyboard.press('Enter');
  await page.locator('.time input').waitFor();
  const watched = page.url();
  await page.goBack();
  await page.getByRole('heading', { name: 'Live' }).waitFor();
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();

  await page.evaluate((name) => (location.hash = `#/recordings?user=${name}`), who.name);
  await settled(page);
  await page.getByRole('columnheader', { name: 'Length' }).getByRole('button').click();
  expect(page.url()).toContain('sort=length');
  await page.locator(`tbody a[href="${watched.slice(watched.indexOf('#'))}"]`).first().waitFor();
  await page.evaluate(() => (location.hash = '#/recordings?user=no-such-person'));
  await page.getByText('Nothing matches.').waitFor();
});
