// How calls travel: relative to the page, with the session's cookie and token. Errors carry the server's own words.
import { parse } from './json';

export interface How {
  signal?: AbortSignal;
  /** About being signed in itself: it does not wait for an unlock, and what a refusal means is the caller's to say. */
  apart?: boolean;
  /** Part of what was begun before a lock: it goes on. */
  begun?: boolean;
  headers?: Record<string, string>;
  /** How long, in ms, an answer may take to come whole: then it is as if the gate could not be reached. */
  limit?: number;
}

export class Refused extends Error {
  constructor(readonly status: number, readonly fault: string, message: string, readonly code = '', readonly until = '', readonly said: Record<string, unknown> = {}) {
    super(message);
  }
}

/** A call that waits so long is looked into. */
const LONG = 4_000;
let csrf = '';
let onSignedOut: () => void = () => {};
let onLocked: () => void = () => {};
let onTrouble: () => void = () => {};
/** While the browser is locked: what waits for it to be opened. */
let held: { opened: Promise<void>; open: () => void } | null = null;

export function use(token: string): void {
  csrf = token;
}

export function whenSignedOut(tell: () => void): void {
  onSignedOut = tell;
}

export function whenLocked(tell: () => void): void {
  onLocked = tell;
}

/** Tells when a call waits long or is not answered. */
export function watchWay(tell: () => void): void {
  onTrouble = tell;
}

/** Lets no call leave until `release`: pages, transfers and terminals then go on as if it had taken long. */
export function hold(): void {
  if (held) return;
  let open = () => {};
  const opened = new Promise<void>((done) => (open = done));
  held = { opened, open };
}

export function release(): void {
  held?.open();
  held = null;
}

/** Waits for `release`, or for who asked to give up. */
async function wait(signal?: AbortSignal): Promise<void> {
  const aborted = new Promise<void>((done) => signal?.addEventListener('abort', () => done(), { once: true }));
  while (held && !signal?.aborted) await Promise.race([held.opened, aborted]);
}

/** An address beside the page: the app works under any path. */
export function at(path: string): string {
  return new URL(path.replace(/^\//, ''), location.href.split(/[?#]/)[0]).href;
}

function fill(method: string, path: string, ask: object): { url: string; body?: string } {
  const rest: Record<string, unknown> = { ...ask };
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = rest[name];
    delete rest[name];
    return encodeURIComponent(String(value));
  });
  if (method !== 'GET') return { url: at(filled), body: JSON.stringify(rest) };
  const url = new URL(at(filled));
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === null || value === '') continue;
    url.searchParams.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
  }
  return { url: url.href };
}

export async function send(method: string, path: string, ask: object, how: How = {}): Promise<Response> {
  const { url, body } = fill(method, path, ask);
  return carry(method, path, url, body, body === undefined ? '' : 'application/json', how);
}

/** Sends bytes as they are; a part of a file is read while it is sent. */
export async function put<T>(path: string, body: Blob, how: How = {}): Promise<T> {
  return (await carry('PUT', path, at(path), body, 'application/octet-stream', how)).json() as Promise<T>;
}

/** Posts bytes. */
export async function post(path: string, body: Blob, headers: Record<string, string>): Promise<void> {
  await carry('POST', path, at(path), body, 'application/octet-stream', { headers });
}

/** Posts JSON, for an answer to be read while it is being made. */
export function stream(path: string, body: string, signal: AbortSignal): Promise<Response> {
  return carry('POST', path, at(path), body, 'application/json', { signal });
}

async function carry(method: string, path: string, url: string, body: BodyInit | undefined, type: string, how: How): Promise<Response> {
  for (;;) {
    if (!how.apart && !how.begun) await wait(how.signal);
    const headers: Record<string, string> = { ...how.headers };
    if (type) headers['Content-Type'] = type;
    if (method !== 'GET') headers['X-CSRF-Token'] = csrf;
    let response: Response;
    const long = setTimeout(() => onTrouble(), LONG);
    try {
      response = await fetch(url, { method, headers, body, signal: how.limit ? AbortSignal.timeout(how.limit) : how.signal, credentials: 'same-origin', cache: 'no-store' });
    } catch (error) {
      if (error instanceof DOMException && error.name === 'AbortError') throw error;
      onTrouble();
      throw new Refused(0, 'unreachable', '');
    } finally {
      clearTimeout(long);
    }
    if (response.status >= 502) onTrouble();
    if (response.ok) return response;
    const said = await response.json().catch(() => ({}));
    if (response.status === 401 && !how.apart) {
      if (said.code === 'locked') {
        hold();
        onLocked();
        continue;
      }
      onSignedOut();
    }
    throw new Refused(response.status, said.fault ?? 'internal', said.message ?? '', said.code ?? '', said.until ?? '', said);
  }
}

export async function json<T>(method: string, path: string, ask: object, how?: How): Promise<T> {
  return (await parse(await (await send(method, path, ask, how)).text())) as T;
}

export async function bytes<T>(method: string, path: string, ask: object, how?: How): Promise<T> {
  return new Uint8Array(await (await send(method, path, ask, how)).arrayBuffer()) as T;
}

/** One JSON value a line; empty lines are heartbeats. */
export async function* lines<T>(method: string, path: string, ask: object, how?: How): AsyncGenerator<T> {
  const response = await send(method, path, ask, how);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) if (part) yield JSON.parse(part) as T;
  }
}
