// Checks a recording in the browser: every link of the chain, every seal, every receipt, the closing statement, and that what is
// said of the recording is what was sealed. Finds what `audit::recording::verify` finds.
import type { GetRecordingAnswer } from '../api/recordings';
import type { RecordingState } from '../api/types';
import { KIND, Malformed, parse, type Segment } from './decode';

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
  /** Proven to have been cut off where it ends: what came after was lost with its node. */
  abandoned: boolean;
  /** The first segment at fault. */
  at?: number;
  why?: Fault;
}

export type Fault = 'malformed' | 'elsewhere' | 'after' | 'link' | 'time' | 'seal' | 'receipt' | 'described' | 'none' | 'closing' | 'cut';

/** What a recording says of itself, in its first frame. */
export interface About {
  user: string;
  login: string;
  node: string;
  node_name: string;
  kind: string;
  command?: string;
  notice?: string;
}

/** What a segment says of itself, and whether its seal holds under the key it names. */
export interface Examined {
  session: string;
  n: number;
  last: boolean;
  recovered: boolean;
  /** Milliseconds since 1970. */
  started: number;
  first: number;
  until: number;
  frames: number;
  /** Where its first frame says of what the recording is. */
  about: About | null;
  bytes: number;
  prev: string;
  sealKey: string;
  hash: string;
  sealed: boolean;
}

/** This browser cannot check signatures: nothing is said of the recording. */
export class Unable extends Error {}

const text = new TextEncoder();
const bytesOf = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
const own = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

async function sha256(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', own(bytes)));
}

async function signed(key: Uint8Array, signature: Uint8Array, message: Uint8Array): Promise<boolean> {
  const imported = await crypto.subtle.importKey('raw', own(key), 'Ed25519', false, ['verify']).catch((error: unknown) => {
    throw error instanceof DOMException && error.name === 'NotSupportedError' ? new Unable() : error;
  });
  return crypto.subtle.verify('Ed25519', imported, own(signature), own(message));
}

export async function examine(bytes: Uint8Array): Promise<Examined> {
  const segment = parse(bytes);
  const domain = text.encode('moongate recording segment v1\n');
  const message = new Uint8Array([...domain, ...(await sha256(segment.sealed))]);
  return {
    session: segment.session, n: segment.n, last: segment.last, recovered: segment.recovered, started: segment.started,
    first: segment.first, until: segment.until, frames: segment.frames.length, about: about(segment), bytes: bytes.length, prev: hex(segment.prev),
    sealKey: hex(segment.sealKey), hash: hex(await sha256(bytes)), sealed: await signed(segment.sealKey, segment.seal, message),
  };
}

function about(segment: Segment): About | null {
  const start = segment.frames[0];
  if (start?.kind !== KIND.start) return null;
  try {
    return JSON.parse(new TextDecoder().decode(start.payload)) as About | null;
  } catch {
    return null;
  }
}

/** Whether a recording is of what it is said to be of, by its first segment. */
function described({ info }: GetRecordingAnswer, { about, started }: Examined): boolean {
  return about !== null && info.user === about.user && info.login === about.login && info.node === about.node
    && info.node_name === about.node_name && info.kind === about.kind && (info.command ?? '') === (about.command ?? '')
    && (info.notice ?? '') === (about.notice ?? '') && Date.parse(info.started) === started;
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
  const so: Verdict = { state: 'growing', segments: 0, frames: 0, bytes: 0, sealKey, auditKey: hex(key), head: '0'.repeat(64), recovered: 0, abandoned: false };
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
    if (receipt.id !== id || receipt.n !== n || receipt.hash !== found.hash || !(await signed(key, bytesOf(receipt.signature), said))) return broken(n, 'receipt');
    if (n === 0 && !described(detail, found)) return broken(n, 'described');
    ({ last, until } = found);
    so.head = found.hash;
    so.segments = n + 1;
    so.frames += found.frames;
    so.bytes += found.bytes;
    so.recovered += Number(found.recovered);
    progress(n + 1);
  }
  // Of what a recording is stands in its first segment: without it nothing that is said of it was sealed.
  if (!so.segments) return broken(0, 'none');
  if (!detail.closing_signature) return detail.info.state === 'live' ? so : broken(0, 'described');
  const state = await closed(detail, so, key);
  if (!state) return broken(so.segments, 'closing');
  const ended = state === 'complete' ? Date.parse(detail.info.started) + Math.floor(until / 1000) : null;
  const agrees = detail.info.state === state && detail.info.segments === so.segments && detail.info.bytes === so.bytes
    && (ended === null || Date.parse(detail.info.ended ?? '') === ended);
  if (!agrees) return broken(0, 'described');
  if (state === 'complete' && !last) return broken(so.segments, 'cut');
  return { ...so, state: 'proven', abandoned: state === 'abandoned' };
}

/** For which end the closing statement is signed. */
async function closed(detail: GetRecordingAnswer, so: Verdict, key: Uint8Array): Promise<RecordingState | null> {
  for (const state of ['complete', 'abandoned'] as const) {
    const said = text.encode(`moongate recording closing v1\nsession ${detail.info.id}\nsegments ${so.segments}\nhash ${so.head}\nstate ${state}\n`);
    if (await signed(key, bytesOf(detail.closing_signature ?? ''), said)) return state;
  }
  return null;
}
