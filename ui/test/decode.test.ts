import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { KIND, Malformed, parse, shown, size } from '../src/more/decode';
import { frame, pack, weight } from '../src/more/frames';
import { examine } from '../src/more/proof';

const sealHolds = async (bytes: Uint8Array) => (await examine(bytes)).sealed;

const golden = new Uint8Array(readFileSync(new URL('../../crates/audit/testdata/segment-v1.bin', import.meta.url)));

test('the golden segment reads as the reader in Rust reads it', () => {
  const segment = parse(golden);
  expect(segment.session).toBe('09090909-0909-4909-8909-090909090909');
  expect(segment).toMatchObject({ n: 0, last: true, recovered: false, started: 1_000_000, first: 0, until: 900_000 });
  expect(segment.frames.length).toBe(22);
  expect(segment.frames.map((f) => f.kind)).toContain(KIND.output);
  expect(segment.frames[0]!.kind).toBe(KIND.start);
  expect(size(segment.frames[0]!)).not.toBeNull();
  const text = segment.frames.map(shown).filter((b) => b !== null).map((b) => new TextDecoder().decode(b)).join('');
  expect(text.length).toBeGreaterThan(0);
});

test('its seal holds, and no longer when a bit is turned', async () => {
  expect(await sealHolds(golden)).toBe(true);
  let refused = 0;
  for (let at = 0; at < golden.length; at += 7) {
    const bent = golden.slice();
    bent[at]! ^= 1;
    try {
      if (!(await sealHolds(bent))) refused += 1;
    } catch (error) {
      expect(error).toBeInstanceOf(Malformed);
      refused += 1;
    }
  }
  expect(refused).toBe(Math.ceil(golden.length / 7));
});

test('what is cut off or too long is refused, never read beyond', () => {
  for (let length = 0; length < golden.length; length += 1) expect(() => parse(golden.slice(0, length))).toThrow();
  expect(() => parse(new Uint8Array([...golden, 0]))).toThrow(Malformed);
  expect(() => parse(new Uint8Array(5 * 1024 * 1024))).toThrow(Malformed);
});

test.each([
  [[60_000, 60_000], [512, 256]],
  [[1, 1], [2, 2]],
  [[0, 50], [80, 24]],
  [[132, 43], [132, 43]],
])('a screen of %j is drawn as one of %j', ([cols, rows], [wide, tall]) => {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint16(0, cols!);
  new DataView(payload.buffer).setUint16(2, rows!);
  const start = new TextEncoder().encode(JSON.stringify({ cols, rows }));

  expect(size({ at: 0, kind: KIND.resize, payload })).toEqual({ cols: wide, rows: tall });
  expect(size({ at: 0, kind: KIND.start, payload: start })).toEqual(cols && rows ? { cols: wide, rows: tall } : null);
});

test('frames travel packed and come out as they went in', () => {
  const segment = parse(golden);
  const packed = pack(segment);
  for (const [i, was] of segment.frames.entries()) expect(frame(packed, i)).toEqual({ ...was, payload: new Uint8Array(was.payload) });
  expect(frame(packed, segment.frames.length)).toBeUndefined();
});

test('how much is to be drawn until a moment is known without drawing it', () => {
  const frames = pack({ n: 0, frames: [10, 20, 20, 40].map((at) => ({ at, kind: KIND.output, payload: new Uint8Array(at) })) });
  expect([weight(frames, 0, 5), weight(frames, 0, 10), weight(frames, 0, 20), weight(frames, 1, 39), weight(frames, 1, 99)]).toEqual([0, 10, 50, 40, 80]);
  expect(weight(frames, 4, 99)).toBe(0);
});
