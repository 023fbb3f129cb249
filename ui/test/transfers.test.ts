// Uploads over a way that breaks, and people who pause: nothing is sent twice, and nothing asked that is answered already.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

type Transfers = typeof import('../src/files/transfers.svelte');
type Answer = [number, object] | null;
const FILES = '/webapi/files/uploads';
const place = { node: 'n', login: 'root' };
const told = (stage: string, more: object = {}): Answer => [200, { upload: 'up', offset: 3, size: 3, stage, ...more }];

let page: Transfers;
let asked: string[];
/** What is answered to each, in turn; the last of them again and again. Null where the way breaks. */
let answers: Record<string, Answer[]>;

beforeEach(async () => {
  vi.resetModules();
  vi.useFakeTimers();
  vi.stubGlobal('BroadcastChannel', class { onmessage = null; postMessage(): void {} });
  vi.stubGlobal('location', { href: 'https://gate.test/' });
  vi.stubGlobal('addEventListener', () => {});
  asked = [];
  vi.stubGlobal('fetch', (url: string, how: RequestInit) => {
    const what = `${how.method} ${new URL(url).pathname.replace(FILES, '')}`;
    asked.push(what);
    const left = answers[what] ?? [];
    const answer = left.length > 1 ? left.shift()! : left[0];
    return answer ? Promise.resolve(new Response(JSON.stringify(answer[1]), { status: answer[0] })) : Promise.reject(new TypeError('no way'));
  });
  page = await import('../src/files/transfers.svelte');
  answers = { 'POST ': [told('writing', { offset: 0 })], 'PUT /up/0': [told('writing')], 'POST /up/finish': [told('done', { sha256: 'abc' })] };
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const begin = () => {
  page.upload(place, 'gpu-1', '/tmp', new File(['all'], 'a'));
  return page.transfers.all[0]!;
};
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

test('an upload whose last answer was lost asks what became of it', async () => {
  answers['POST /up/finish'] = [null, [502, {}], told('checking')];
  answers['GET /up'] = [null, told('done', { sha256: 'abc' })];
  const transfer = begin();

  await pass(60_000);

  expect(transfer).toMatchObject({ state: 'done', sha256: 'abc' });
  expect(asked.filter((what) => what === 'POST ' || what.startsWith('PUT'))).toEqual(['POST ', 'PUT /up/0']);
});

test.each([
  ['that the gate does not know any more', [[404, { code: 'gone' }], told('done')]],
  ['of which something is missing', [[409, { code: 'offset' }], told('done')]],
  ['that failed for a while', [told('failed', { code: 'gone' }), told('done')]],
] as [string, Answer[]][])('an upload %s begins anew', async (_, finish) => {
  answers['POST /up/finish'] = finish;
  const transfer = begin();

  await pass(10_000);

  expect(transfer.state).toBe('done');
  expect(asked.filter((what) => what === 'POST ')).toHaveLength(2);
});

test('an upload that is paused while it waits for another try, and goes on, is made once', async () => {
  answers['PUT /up/0'] = [null];
  const transfer = begin();
  await pass(0);
  expect(transfer.state).toBe('again');

  page.pause(transfer);
  page.resume(transfer);
  await pass(0);
  const before = asked.length;
  await pass(30_000);

  // Each try is a start and a piece; a second loop would make as many again.
  const tries = (asked.length - before) / 2;
  expect(tries).toBeLessThanOrEqual(5);
  page.pause(transfer);
  const paused = asked.length;
  await pass(60_000);
  expect([transfer.state, asked.length]).toEqual(['paused', paused]);
});
