// What people are told of being recorded, by role: a line, or a page to agree to first. Who is told nothing is in silent.spec.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { mctl, somebody, visit, world } from '../world/browser';
import { settled } from '../world/page';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

interface Event { event: string; code: string; user: string; name?: string; notice?: string; how?: string; success?: boolean; sid?: string; before?: string; after?: string }
const events = (types: string): Event[] => JSON.parse(mctl(['audit', 'ls', `--types=${types}`, '--limit=1000', '--format=json'])) as Event[];

/** Makes or replaces a role that connects everywhere and tells so much. */
function role(name: string, notice: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'moongate-role-'));
  writeFileSync(join(dir, 'role.yaml'), `kind: role\nversion: v7\nmetadata:\n  name: ${name}\nspec:\n  options:\n    record_session:\n      notice: ${notice}\n  allow:\n    logins: ["{{internal.logins}}"]\n    node_labels:\n      "*": "*"\n`);
  mctl(['create', '--force', join(dir, 'role.yaml')]);
  rmSync(dir, { recursive: true });
}

test('a role that tells: a line in the terminal, a sign beside it, and the record says so', async () => {
  role('told', 'banner');
  const who = await somebody('told');
  const page = await visit('nodes', { cookie: await who.cookie(world.port) });

  await open(page);

  expect(await text(page)).toContain('This session is recorded.');
  await page.getByText('Recorded', { exact: true }).waitFor();
  const start = await until('the beginning on record', () => events('session.start').find((e) => e.user === who.name));
  expect(start.notice).toBe('banner');
});

test('a role that asks: the page names what is kept, no opens nothing, yes is on record', async () => {
  role('asked', 'consent');
  const who = await somebody('asked');
  const page = await visit('nodes', { cookie: await who.cookie(world.port) });
  const connect = async () => {
    await page.getByRole('button', { name: /Connect to ?gpu-1/ }).click();
    await page.locator('dialog[open] button[type=submit]').click();
    await page.getByRole('heading', { name: 'Sessions here are recorded' }).waitFor();
  };

  await connect();
  await page.getByText('Not what you type').waitFor();
  await page.getByRole('button', { name: 'Not now' }).click();
  await settled(page);
  expect(await page.locator('.xterm').count()).toBe(0);
  expect(events('session.start').filter((e) => e.user === who.name)).toEqual([]);

  await connect();
  await page.getByRole('button', { name: 'I agree' }).click();
  await shows(page, /[#$] *$/m);
  expect(await text(page)).not.toContain('Type `yes`');
  const said = await until('the answer on record', () => events('session.consent').find((e) => e.user === who.name));
  expect(said).toMatchObject({ code: 'MGS002I', how: 'client', success: true });

  await page.getByRole('link', { name: 'Files' }).first().click();
  await page.getByRole('button', { name: 'Upload' }).waitFor();
});

test('a role that falls silent is an act of its own in the audit log, and its people hear nothing any more', async () => {
  role('quiet', 'banner');
  role('quiet', 'silent');

  const last = await until('both on record', () => {
    const all = events('role.notice').filter((e) => e.name === 'quiet');
    return all.length > 1 ? all : undefined;
  });
  expect(last.map((e) => [e.code, e.before, e.after])).toEqual([['MGP001W', 'banner', 'silent'], ['MGP001I', '', 'banner']]);
  expect(mctl(['audit', 'ls', '--types=role.notice'])).toContain('before=banner after=silent');
  const who = await somebody('quiet');
  const page = await visit('nodes', { cookie: await who.cookie(world.port) });
  await open(page);
  await type(page, 'clear; env | grep -c MOONGATE');
  await shows(page, /^0$/m);
  expect(await page.getByText('Recorded', { exact: true }).count()).toBe(0);
});

test.each([['ended-told', 'banner', true], ['ended-silent', 'silent', false]] as const)('the reason for an end: %s', async (name, notice, told) => {
  role(name, notice);
  const who = await somebody(name);
  const works = await visit('nodes', { cookie: await who.cookie(world.port) });
  await open(works);
  const page = await visit('live', { cookie: world.admin });
  await page.getByRole('row').filter({ hasText: who.name }).getByRole('button', { name: 'End' }).click();
  await page.getByLabel('Reason').fill('maintenance window');

  await page.locator('dialog[open] button[type=submit]').click();

  await works.getByText('The session has ended').waitFor();
  expect((await text(works)).includes('maintenance window')).toBe(told);
  const ended = await until('the end on record', () => events('session.end').find((e) => e.user === who.name));
  expect(JSON.stringify(ended)).toContain('maintenance window');
});
