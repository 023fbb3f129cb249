// Checks a recording in the browser: every link of the chain, every seal, every receipt and the closing statement.
import type { GetRecordingAnswer } from '../api/recordings';
import { Malformed, parse } from './decode';

export interface Verdict {
  state: 'proven' | 'growing' | 'broken';
  segments: number;
  frames: number;
  bytes: number;
  /** The key that sealed, and the one that signed: hex. */
  sealKey: string;
  auditKey: string;
  /** Hash of the last segment that holds. */
  head: string;
  recovered: number;
  /** The first segment at fault. */
  at?: number;
  why?: Fault;
}

export type Fault = 'malformed' | 'elsewhere' | 'after' | 'link' | 'time' | 'seal' | 'receipt' | 'closing';

/** What a segment says of itself, and whether its seal holds under the key it names. */
export interface Examined {
  session: string;
  n: number;
  last: boolean;
  recovered: boolean;
  first: number;
  until: number;
  frames: number;
  bytes: number;
  prev: string;
  sealKey: string;
  hash: string;
  sealed: boolean;
}

const text = new TextEncoder();
const bytesOf = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
const own = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

async function sha256(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', own(bytes)));
}

async function signed(key: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  const imported = await crypto.subtle.importKey('raw', own(key), 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', imported, own(signature), own(message));
}

export async function examine(bytes: Uint8Array): Promise<Examined> {
  const segment = parse(bytes);
  const domain = text.encode('moongate recording segment v1\n');
  const message = new Uint8Array([...domain, ...(await sha256(segment.sealed))]);
  return {
    session: segment.session, n: segment.n, last: segment.last, recovered: segment.recovered, first: segment.first,
    until: segment.until, frames: segment.frames.length, bytes: bytes.length, prev: hex(segment.prev),
    sealKey: hex(segment.sealKey), hash: hex(await sha256(bytes)), sealed: await signed(segment.sealKey, segment.seal, message),
  };
}

export async function verify(
  detail: GetRecordingAnswer,
  auditKey: string,
  segment: (n: number) => Promise<Examined>,
  progress: (n: number) => void = () => {},
): Promise<Verdict> {
  const id = detail.info.id;
  const key = bytesOf(auditKey);
  const sealKey = hex(bytesOf(detail.seal_key));
  const so: Verdict = { state: 'growing', segments: 0, frames: 0, bytes: 0, sealKey, auditKey: hex(key), head: '0'.repeat(64), recovered: 0 };
  const broken = (at: number, why: Fault): Verdict => ({ ...so, state: 'broken', at, why });
  let last = false;
  let until = 0;
  for (const [n, receipt] of detail.receipts.entries()) {
    let found: Examined;
    try {
      found = await segment(n);
    } catch (error) {
      if (error instanceof Malformed) return broken(n, 'malformed');
      throw error;
    }
    if (found.session !== id || found.n !== n) return broken(n, 'elsewhere');
    if (last) return broken(n, 'after');
    if (found.prev !== so.head) return broken(n, 'link');
    if (found.first < until) return broken(n, 'time');
    if (found.sealKey !== sealKey || !found.sealed) return broken(n, 'seal');
    const said = text.encode(`moongate recording receipt v1\nsession ${id}\nsegment ${n}\nhash ${found.hash}\n`);
    if (receipt.n !== n || receipt.hash !== found.hash || !(await signed(key, bytesOf(receipt.signature), said))) return broken(n, 'receipt');
    ({ last, until } = found);
    so.head = found.hash;
    so.segments = n + 1;
    so.frames += found.frames;
    so.bytes += found.bytes;
    so.recovered += Number(found.recovered);
    progress(n + 1);
  }
  if (!detail.closing_signature) return so;
  const closing = text.encode(`moongate recording closing v1\nsession ${id}\nsegments ${so.segments}\nhash ${so.head}\nstate ${detail.info.state}\n`);
  if (!(await signed(key, bytesOf(detail.closing_signature), closing))) return broken(so.segments, 'closing');
  return { ...so, state: 'proven' };
}
