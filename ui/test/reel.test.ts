// What the player's worker answers, and what it is when there is none.
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { parts } from '../src/lib/part.svelte';
import { Refused } from '../src/lib/transport';
import { Malformed } from '../src/more/decode';
import { examine, Unable } from '../src/more/proof';
import { Reel } from '../src/more/reel';

class Worker {
  static last: Worker;
  asked: number[] = [];
  onmessage: (event: { data: object }) => void = () => {};
  onerror: () => void = () => {};
  constructor() { Worker.last = this; }
  postMessage({ id }: { id: number }): void { this.asked.push(id); }
  terminate(): void {}
}

beforeEach(() => {
  parts.missing = false;
  vi.stubGlobal('Worker', Worker);
  vi.stubGlobal('location', { href: 'https://gate.test/' });
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(new Uint8Array(8))));
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});
const asked = (count: number) => vi.waitFor(() => expect(Worker.last.asked).toHaveLength(count));

test.each([
  ['malformed', Malformed],
  ['unable', Unable],
  ['other', Error],
] as const)('what is wrong is told as %s', async (fault, kind) => {
  const reel = new Reel('id', 1);
  const found = reel.examined(0).catch((error: unknown) => error);
  await asked(1);

  Worker.last.onmessage({ data: { id: 0, fault, error: 'why' } });

  expect((await found)!.constructor).toBe(kind);
});

test('a worker that is not to be had is said to be missing, to who waits and to who comes later', async () => {
  const reel = new Reel('id', 2);
  const waiting = [reel.examined(0), reel.segment(1)].map((found) => found.catch((error: unknown) => error));
  await asked(2);

  Worker.last.onerror();

  for (const found of [...waiting, reel.examined(0).catch((error: unknown) => error)]) expect(await found).toBeInstanceOf(Refused);
  expect(parts.missing).toBe(true);
});

test('a browser without Ed25519 is unable, and the recording not broken', async () => {
  const golden = new Uint8Array(readFileSync(new URL('../../crates/audit/testdata/segment-v1.bin', import.meta.url)));
  vi.spyOn(crypto.subtle, 'importKey').mockRejectedValue(new DOMException('', 'NotSupportedError'));

  await expect(examine(golden)).rejects.toBeInstanceOf(Unable);
});
