import { expect, test } from 'vitest';
import * as wire from '../src/terminal/wire';

test('frames are as the gate reads them', () => {
  expect([...new Uint8Array(wire.input(new Uint8Array([108, 115])))]).toEqual([0, 108, 115]);
  expect([...new Uint8Array(wire.ack(258))]).toEqual([1, 0, 0, 0, 0, 0, 0, 1, 2]);
  expect([...new Uint8Array(wire.resize(80, 300))]).toEqual([2, 0, 80, 1, 44]);
  expect([...new Uint8Array(wire.close())]).toEqual([4]);
});

test('frames of the gate are read, nonsense is not', () => {
  const output = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1, 0, 104, 105]).buffer;
  expect(wire.decode(output)).toEqual({ kind: 'output', offset: 256, bytes: new Uint8Array([104, 105]) });
  const news = new Uint8Array([1, ...new TextEncoder().encode('{"state":"ended","status":3}')]).buffer;
  expect(wire.decode(news)).toEqual({ kind: 'news', news: { state: 'ended', status: 3 } });
  const pong = wire.decode(new Uint8Array([3, ...new Uint8Array(wire.ping(12.5)).slice(1)]).buffer);
  expect(pong).toEqual({ kind: 'pong', stamp: 12.5 });
  for (const bytes of [[], [0, 1], [2, 1], [9]]) expect(wire.decode(new Uint8Array(bytes).buffer)).toBeNull();
});
