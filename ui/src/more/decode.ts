// Segments of a recording: docs/formats/recording.md, held to the same golden vector as the reader in `audit`. Lengths
// are checked before anything is read; unknown kinds are refused.
import { decompress } from 'fzstd';

export class Malformed extends Error {}

export const KIND = {
  start: 0, output: 1, input: 2, resize: 3, join: 4, leave: 5, gap: 6, exec: 7, bytes: 8, total: 9, exit: 10, signal: 11,
  mark: 12, end: 13,
} as const;

export interface Frame {
  /** Microseconds since the recording began. */
  at: number;
  kind: number;
  payload: Uint8Array;
}

export interface Segment {
  session: string;
  n: number;
  last: boolean;
  recovered: boolean;
  /** Milliseconds since 1970. */
  started: number;
  first: number;
  until: number;
  frames: Frame[];
  prev: Uint8Array;
  sealKey: Uint8Array;
  seal: Uint8Array;
  /** What the seal covers. */
  sealed: Uint8Array;
}

const MAX_SEGMENT = 4 * 1024 * 1024;
const MAX_RAW = 256 * 1024;
const MAX_BLOCKS = 16;
const MAX_PAYLOAD = 65_536;
const SEAL = 64;
const MAX_COLS = 512;
const MAX_ROWS = 256;
const MAGIC = [0x4d, 0x47, 0x52, 0x45, 0x43, 0, 0, 1];

class Reader {
  private view: DataView;
  private at = 0;
  constructor(private bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  get left(): number { return this.bytes.length - this.at; }
  take(length: number): Uint8Array {
    if (length > this.left) throw new Malformed('cut off');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  u8(): number { return this.take(1)[0]!; }
  u16(): number { this.take(2); return this.view.getUint16(this.at - 2); }
  u32(): number { this.take(4); return this.view.getUint32(this.at - 4); }
  u64(): number { this.take(8); return safe(this.view.getBigUint64(this.at - 8)); }
  i64(): number { this.take(8); return safe(this.view.getBigInt64(this.at - 8)); }
  varint(): number {
    let value = 0n;
    for (let shift = 0n; shift < 64n; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) throw new Malformed('a number is longer than it need be');
        return safe(value);
      }
    }
    throw new Malformed('a number is too long');
  }
}

function safe(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Malformed('a number is too large');
  return number;
}

export function parse(bytes: Uint8Array): Segment {
  if (bytes.length > MAX_SEGMENT) throw new Malformed('larger than a segment can be');
  const read = new Reader(bytes);
  if (!read.take(8).every((byte, i) => byte === MAGIC[i])) throw new Malformed('no segment of version 1');
  const session = new TextDecoder().decode(read.take(36));
  const n = read.u64();
  const flags = read.u8();
  if (flags & ~3) throw new Malformed('unknown flags');
  const [started, first, until, count] = [read.i64(), read.u64(), read.u64(), read.u32()];
  const prev = read.take(32);
  const sealKey = read.take(32);
  const blocks = read.u16();
  if (blocks < 1 || blocks > MAX_BLOCKS) throw new Malformed('a wrong number of blocks');
  const index = Array.from({ length: blocks }, () => ({ packed: read.u32(), raw: read.u32(), frames: read.u32(), first: read.u64() }));
  const whole = index.reduce((sum, block) => sum + block.packed, SEAL);
  if (whole !== read.left || index.some((block) => block.raw > MAX_RAW)) throw new Malformed('the index does not fit the bytes');
  const frames: Frame[] = [];
  let time = first;
  for (const block of index) {
    const raw = unpacked(read.take(block.packed), block.raw);
    if (raw.length !== block.raw) throw new Malformed('a block is not as long as it says');
    const before = frames.length;
    time = unpack(raw, frames, time);
    if (frames.length - before !== block.frames || frames[before]?.at !== block.first) throw new Malformed('a block is not what the index says');
  }
  if (frames.length !== count || frames[0]?.at !== first || time !== until) throw new Malformed('the frames are not what the header says');
  return {
    session, n, last: (flags & 1) !== 0, recovered: (flags & 2) !== 0, started, first, until, frames, prev, sealKey,
    seal: read.take(SEAL), sealed: bytes.subarray(0, bytes.length - SEAL),
  };
}

function unpacked(block: Uint8Array, length: number): Uint8Array {
  try {
    return decompress(block, new Uint8Array(length));
  } catch {
    throw new Malformed('a block does not unpack');
  }
}

function unpack(raw: Uint8Array, frames: Frame[], from: number): number {
  const read = new Reader(raw);
  let time = from;
  while (read.left) {
    const kind = read.u8();
    if (kind > KIND.end) throw new Malformed('an unknown kind of frame');
    const at = read.varint();
    const length = read.varint();
    if (length > MAX_PAYLOAD) throw new Malformed('a frame is too long');
    if (at < time) throw new Malformed('time runs backwards');
    time = at;
    frames.push({ at, kind, payload: read.take(length) });
  }
  return time;
}

/** What a frame puts on the screen. */
export function shown(frame: Frame): Uint8Array | null {
  if (frame.kind === KIND.output) return frame.payload;
  if (frame.kind !== KIND.bytes || frame.payload[0] === 0) return null;
  const text = new TextDecoder().decode(frame.payload.subarray(1));
  return new TextEncoder().encode(text.replace(/\r?\n/g, '\r\n'));
}

/** The size that a screen is drawn in, as the authority draws it: whoever was recorded chose theirs, and a page holds so much. */
export function drawable(size: { cols: number; rows: number }): { cols: number; rows: number } {
  const { cols, rows } = size.cols && size.rows ? size : { cols: 80, rows: 24 };
  return { cols: Math.max(2, Math.min(MAX_COLS, cols)), rows: Math.max(2, Math.min(MAX_ROWS, rows)) };
}

export function size(frame: Frame): { cols: number; rows: number } | null {
  if (frame.kind === KIND.resize && frame.payload.length === 4) {
    const view = new DataView(frame.payload.buffer, frame.payload.byteOffset, 4);
    return drawable({ cols: view.getUint16(0), rows: view.getUint16(2) });
  }
  if (frame.kind === KIND.start) {
    const start = JSON.parse(new TextDecoder().decode(frame.payload)) as { cols?: number; rows?: number };
    return start.cols && start.rows ? drawable({ cols: start.cols, rows: start.rows }) : null;
  }
  return null;
}
