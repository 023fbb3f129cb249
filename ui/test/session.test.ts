// Who is signed in, as the page has it: what the gate has not heard is not so.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

type Session = typeof import('../src/lib/session.svelte');
const ANN = { user: 'ann', roles: [], logins: [], may: {}, cluster: 'c', csrf: 'once', expires: '', scrollback: 1, version: '1' };

let page: Session;
/** What the gate answers: a status and a body, or nothing where it cannot be reached. */
let answers: (method: string, path: string) => [number, object] | null;
const asked: string[] = [];

beforeEach(async () => {
  vi.resetModules();
  asked.length = 0;
  vi.stubGlobal('BroadcastChannel', class { onmessage = null; postMessage(): void {} });
  vi.stubGlobal('location', { href: 'https://gate.test/', reload: vi.fn() });
  vi.stubGlobal('fetch', (url: string, how: RequestInit) => {
    const path = new URL(url).pathname;
    asked.push(`${how.method} ${path}`);
    const answer = answers(how.method!, path);
    return answer ? Promise.resolve(new Response(JSON.stringify(answer[1]), { status: answer[0] })) : Promise.reject(new TypeError('no way'));
  });
  page = await import('../src/lib/session.svelte');
  answers = () => [200, ANN];
  await page.ask();
});
afterEach(() => vi.unstubAllGlobals());

test.each([
  ['cannot be reached', null],
  ['is behind a front that says so', [502, {}]],
  ['does not reach its authority', [503, { fault: 'unavailable' }]],
  ['does not take it for a word of this page', [400, { fault: 'bad_request' }]],
] as [string, [number, object] | null][])('who signs out while the gate %s stays signed in, and is told so', async (_, answer) => {
  answers = () => answer;

  expect(await page.signOut()).toBe(false);

  expect(page.session.now?.user).toBe('ann');
  expect(page.session.stays).toBeInstanceOf(Error);
  answers = () => [200, {}];
  expect(await page.signOut()).toBe(true);
  expect([page.session.now, page.session.stays]).toEqual([null, null]);
});

test('who is signed out already is signed out', async () => {
  answers = () => [401, { fault: 'unauthenticated' }];

  expect(await page.signOut()).toBe(true);

  expect(page.session.now).toBeNull();
});

test('a lock that the gate has not heard of is not opened by signing out, which it has not heard of either', async () => {
  answers = () => null;
  await page.lock();

  await page.signOut();

  expect(page.session.locked).toEqual({ user: 'ann' });
  answers = (method) => (method === 'GET' ? [200, ANN] : null);
  await page.ask();
  expect(page.session.locked, 'the way is well again').toEqual({ user: 'ann' });
  answers = () => [200, {}];
  expect(await page.signOut()).toBe(true);
  expect([page.session.locked, page.session.now]).toEqual([null, null]);
});

test('nothing of who was here before goes on as somebody else’s', async () => {
  answers = () => [200, {}];
  await page.signOut();
  answers = () => [200, ANN];
  await page.signIn('ann', 'secret', '');
  expect(location.reload, 'the same person goes on').not.toHaveBeenCalled();
  answers = () => [200, {}];
  await page.signOut();

  answers = () => [200, { ...ANN, user: 'bob' }];
  await page.signIn('bob', 'secret', '');

  expect(location.reload).toHaveBeenCalled();
  expect(page.session.now).toBeNull();
});
