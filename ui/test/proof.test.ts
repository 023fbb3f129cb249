// What is said of a recording is held against what was sealed, as `audit::recording::verify` does it.
import { beforeAll, expect, test } from 'vitest';
import type { GetRecordingAnswer } from '../src/api/recordings';
import type { RecordingState } from '../src/api/types';
import { KIND } from '../src/more/decode';
import { examine, verify, type Verdict } from '../src/more/proof';

const ID = '09090909-0909-4909-8909-090909090909';
const BEGAN = 1_000_000;
const ABOUT = { user: 'ann', login: 'root', node: 'n', node_name: 'web-1', cluster: '', kind: 'shell', cols: 120, rows: 40 };
const text = new TextEncoder();
const own = (parts: (Uint8Array | number[])[]) => new Uint8Array(parts.flatMap((part) => [...part]));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const sha256 = async (bytes: Uint8Array) => new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes)));

interface Key { pair: CryptoKeyPair; raw: Uint8Array }
let seal: Key;
let audit: Key;
async function key(): Promise<Key> {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
  return { pair, raw: new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey)) };
}
const sign = async (by: Key, what: Uint8Array) => new Uint8Array(await crypto.subtle.sign('Ed25519', by.pair.privateKey, new Uint8Array(what)));
beforeAll(async () => { [seal, audit] = [await key(), await key()]; });

function big(value: number, bytes: 2 | 4 | 8): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(value));
  return new Uint8Array(view.buffer).slice(8 - bytes);
}
function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(Math.floor(value / 128))];
}
const frame = (kind: number, at: number, payload: Uint8Array) => own([[kind, ...varint(at), ...varint(payload.length)], payload]);
/** A Zstandard frame with one block as it is (RFC 8878). */
function packed(raw: Uint8Array): Uint8Array {
  const little = (value: number, bytes: number) => [...big(value, 8)].reverse().slice(0, bytes);
  return own([[0x28, 0xb5, 0x2f, 0xfd, 0xa0], little(raw.length, 4), little((raw.length << 3) | 1, 3), raw]);
}

/** A segment of a start, if it is the first, and of what was shown at `n` seconds and a half. */
async function segment(n: number, last: boolean, prev: Uint8Array, first: Uint8Array | null): Promise<Uint8Array> {
  const [from, until] = [n * 1_000_000, n * 1_000_000 + 500_500];
  const shown = frame(KIND.output, until, text.encode(`line ${n}\r\n`));
  const raw = own([first ?? [], shown]);
  const count = first ? 2 : 1;
  const block = packed(raw);
  const begin = first ? from : until;
  const body = own([
    [0x4d, 0x47, 0x52, 0x45, 0x43, 0, 0, 1], text.encode(ID), big(n, 8), [Number(last)], big(BEGAN, 8), big(begin, 8), big(until, 8), big(count, 4),
    prev, seal.raw, big(1, 2), big(block.length, 4), big(raw.length, 4), big(count, 4), big(begin, 8), block,
  ]);
  return own([body, await sign(seal, own([text.encode('moongate recording segment v1\n'), await sha256(body)]))]);
}

interface Made { count?: number; state?: RecordingState; last?: boolean; first?: Uint8Array }
/** A recording, and what its authority says of it. */
async function recording({ count = 2, state = 'complete', last = state === 'complete', first }: Made = {}): Promise<{ detail: GetRecordingAnswer; segments: Uint8Array[] }> {
  const start = first ?? frame(KIND.start, 0, text.encode(JSON.stringify(ABOUT)));
  const segments: Uint8Array[] = [];
  const receipts: GetRecordingAnswer['receipts'] = [];
  let head: Uint8Array = new Uint8Array(32);
  for (let n = 0; n < count; n += 1) {
    const bytes = await segment(n, last && n + 1 === count, head, n === 0 ? start : null);
    segments.push(bytes);
    head = await sha256(bytes);
    const said = text.encode(`moongate recording receipt v1\nsession ${ID}\nsegment ${n}\nhash ${hex(head)}\n`);
    receipts.push({ id: ID, n, hash: hex(head), signature: base64(await sign(audit, said)) });
  }
  const closing = text.encode(`moongate recording closing v1\nsession ${ID}\nsegments ${count}\nhash ${hex(head)}\nstate ${state}\n`);
  const { cluster: _, cols: __, rows: ___, ...of } = ABOUT;
  const info = {
    ...of, id: ID, started: new Date(BEGAN).toISOString(), segments: count, bytes: segments.reduce((sum, bytes) => sum + bytes.length, 0), state,
    ...(state === 'complete' ? { ended: new Date(BEGAN + (count - 1) * 1000 + 500).toISOString() } : {}),
  };
  return { detail: { info, seal_key: base64(seal.raw), receipts, ...(state === 'live' ? {} : { closing_signature: base64(await sign(audit, closing)) }) }, segments };
}
const check = ({ detail, segments }: { detail: GetRecordingAnswer; segments: Uint8Array[] }): Promise<Verdict> =>
  verify(detail, base64(audit.raw), (n) => examine(segments[n]!));

test.each([
  ['complete', 'proven'],
  ['abandoned', 'proven'],
  ['live', 'growing'],
] as const)('a recording that is %s, and said to be, is %s', async (state, wanted) => {
  expect(await check(await recording({ state }))).toMatchObject({ state: wanted, segments: 2, frames: 3, abandoned: state === 'abandoned' });
});

type Said = GetRecordingAnswer['info'];
test.each([
  ['whose it is', { user: 'eve' }],
  ['the account', { login: 'ann' }],
  ['the node', { node: 'm' }],
  ['the name of the node', { node_name: 'web-2' }],
  ['its kind', { kind: 'exec' }],
  ['the command', { command: 'true' }],
  ['when it began', { started: new Date(BEGAN + 1).toISOString() }],
  ['what the person was told', { notice: 'consent' }],
  ['how many segments there are', { segments: 3 }],
  ['its size', { bytes: 1 }],
  ['when it ended', { ended: new Date(BEGAN).toISOString() }],
  ['that it has an end', { ended: null }],
  ['how it ended', { state: 'abandoned' }],
  ['that it ended', { state: 'live' }],
] as [string, Partial<Said>][])('%s is what was sealed, or it is not genuine', async (_, edit) => {
  const made = await recording();
  Object.assign(made.detail.info, edit);

  expect(await check(made)).toMatchObject({ state: 'broken', at: 0, why: 'described' });
});

test('without a closing statement nothing ended', async () => {
  for (const state of ['complete', 'abandoned'] as const) {
    const made = await recording({ state });
    delete made.detail.closing_signature;

    expect(await check(made)).toMatchObject({ state: 'broken', at: 0, why: 'described' });
  }
});

test('what grows may have grown since it was described', async () => {
  const made = await recording({ state: 'live' });
  Object.assign(made.detail.info, { segments: 9, bytes: 9 });

  expect((await check(made)).state).toBe('growing');
});

test('a recording without a segment proves nothing, whatever is signed', async () => {
  for (const state of ['live', 'complete', 'abandoned'] as const) {
    expect(await check(await recording({ count: 0, state }))).toMatchObject({ state: 'broken', at: 0, why: 'none' });
  }
});

test('one that is said to be complete has its last segment', async () => {
  expect(await check(await recording({ last: false }))).toMatchObject({ state: 'broken', at: 2, why: 'cut' });
});

test('one that does not begin with what it is of is of nothing', async () => {
  for (const first of [frame(KIND.output, 0, text.encode('$ ')), frame(KIND.start, 0, text.encode('{')), frame(KIND.start, 0, text.encode('null'))]) {
    expect(await check(await recording({ first }))).toMatchObject({ state: 'broken', at: 0, why: 'described' });
  }
});

test('a receipt is for this recording, and a closing statement for these segments', async () => {
  const elsewhere = await recording();
  elsewhere.detail.receipts[1]!.id = ID.replaceAll('9', '8');
  expect(await check(elsewhere)).toMatchObject({ state: 'broken', at: 1, why: 'receipt' });

  const fewer = await recording({ state: 'abandoned' });
  fewer.detail.receipts.pop();
  expect(await check(fewer)).toMatchObject({ state: 'broken', at: 1, why: 'closing' });
});
