// Checks a recording in the browser: every link of the chain, every seal, every receipt and the closing statement.
import type { GetRecordingAnswer } from '../api/recordings';
import { Malformed, parse } from './decode';

export interface Verdict {
  state: 'proven' | 'growing' | 'broken';
  segments: number;
  /** The first segment at fault. */
  at?: number;
  why?: string;
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

export async function sealHolds(bytes: Uint8Array): Promise<boolean> {
  const segment = parse(bytes);
  const domain = text.encode('moongate recording segment v1\n');
  const message = new Uint8Array([...domain, ...(await sha256(segment.sealed))]);
  return signed(segment.sealKey, segment.seal, message);
}

export async function verify(
  detail: GetRecordingAnswer,
  auditKey: string,
  segment: (n: number) => Promise<Uint8Array>,
  progress: (n: number) => void = () => {},
): Promise<Verdict> {
  const id = detail.info.id;
  const key = bytesOf(auditKey);
  const sealKey = hex(bytesOf(detail.seal_key));
  let prev = '0'.repeat(64);
  let last = false;
  let until = 0;
  for (const [n, receipt] of detail.receipts.entries()) {
    const broken = (why: string): Verdict => ({ state: 'broken', segments: n, at: n, why });
    try {
      const bytes = await segment(n);
      const parsed = parse(bytes);
      if (parsed.session !== id || parsed.n !== n) return broken('it belongs elsewhere');
      if (last) return broken('something follows the last segment');
      if (hex(parsed.prev) !== prev) return broken('it does not follow the one before');
      if (parsed.first < until) return broken('time runs backwards');
      if (hex(parsed.sealKey) !== sealKey || !(await sealHolds(bytes))) return broken('its seal does not hold');
      prev = hex(await sha256(bytes));
      last = parsed.last;
      until = parsed.until;
      const said = text.encode(`moongate recording receipt v1\nsession ${id}\nsegment ${n}\nhash ${prev}\n`);
      if (receipt.n !== n || receipt.hash !== prev || !(await signed(key, bytesOf(receipt.signature), said))) return broken('its receipt does not hold');
    } catch (error) {
      if (error instanceof Malformed) return broken(error.message);
      throw error;
    }
    progress(n + 1);
  }
  const segments = detail.receipts.length;
  if (!detail.closing_signature) return { state: 'growing', segments };
  const closing = text.encode(`moongate recording closing v1\nsession ${id}\nsegments ${segments}\nhash ${prev}\nstate ${detail.info.state}\n`);
  const holds = await signed(key, bytesOf(detail.closing_signature), closing);
  return holds ? { state: 'proven', segments } : { state: 'broken', segments, at: segments, why: 'its closing statement does not hold' };
}
