// What is under way between this browser and nodes. It goes on while one is elsewhere in the app; a file is never in
// memory: uploads are read piece by piece, downloads are the browser's own.
import { session } from '../lib/session.svelte';
import { Refused } from '../lib/transport';
import { last as shown } from './last.svelte';
import * as remote from './remote';

export type State = 'waiting' | 'running' | 'again' | 'paused' | 'asks' | 'checking' | 'done' | 'failed';

export interface Transfer {
  key: number;
  up: boolean;
  place: remote.Place;
  /** The node's name. */
  at: string;
  name: string;
  directory: string;
  size: number;
  moved: number;
  /** Bytes a second, over the last while. */
  speed: number;
  state: State;
  error: unknown;
  sha256: string;
}

export const transfers = $state<{ all: Transfer[]; landed: number }>({ all: [], landed: 0 });

/** Uploads at once: more would only share the way. */
const AT_ONCE = 2;
/** What every front takes in one request. */
const SMALL = 1024 * 1024;
const LARGE = 8 * SMALL;
let last = 0;
/** Pieces never grow again once one of them did not pass. */
let largest = LARGE;

interface Work {
  file: File;
  abort: AbortController;
  upload: string;
  replace: boolean;
  /** All of it is there and it was to be named: it may be, though nobody heard. */
  named: boolean;
}
const works = new Map<number, Work>();

function add(made: Omit<Transfer, 'key' | 'moved' | 'speed' | 'state' | 'error' | 'sha256'>): Transfer {
  last += 1;
  transfers.all.unshift({ ...made, key: last, moved: 0, speed: 0, state: 'waiting', error: null, sha256: '' });
  return transfers.all[0]!;
}

export function upload(place: remote.Place, at: string, directory: string, file: File): void {
  const transfer = add({ up: true, place, at, name: file.name, directory, size: file.size });
  works.set(transfer.key, { file, abort: new AbortController(), upload: '', replace: false, named: false });
  next();
}

export async function download(place: remote.Place, at: string, directory: string, name: string): Promise<void> {
  const { ticket, download } = await remote.ticket(place, remote.join(directory, name));
  const transfer = add({ up: false, place, at, name: download.name, directory, size: download.size });
  transfer.state = 'running';
  ids.set(download.id, transfer.key);
  // The browser saves it as it comes.
  const link = document.createElement('a');
  link.href = remote.address(ticket);
  link.download = download.name;
  document.body.append(link);
  link.click();
  link.remove();
  watch();
}

function next(): void {
  const busy = transfers.all.filter((t) => t.up && ['running', 'again', 'checking'].includes(t.state)).length;
  const waiting = transfers.all.filter((t) => t.up && t.state === 'waiting').reverse();
  for (const transfer of waiting.slice(0, Math.max(0, AT_ONCE - busy))) void run(transfer);
}

async function run(transfer: Transfer): Promise<void> {
  const work = works.get(transfer.key);
  if (!work) return;
  // Of this turn: who pauses and goes on has begun another.
  const { signal } = (work.abort = new AbortController());
  let tries = 0;
  transfer.state = 'running';
  transfer.error = null;
  for (;;) {
    try {
      await send(transfer, work, signal, () => (tries = 0));
      transfers.landed += 1;
      works.delete(transfer.key);
      break;
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof Refused && error.code === 'exists') {
        transfer.state = 'asks';
        break;
      }
      if (!passes(error) || tries >= 60) {
        transfer.error = error;
        transfer.state = 'failed';
        break;
      }
      tries += 1;
      transfer.state = 'again';
      await new Promise((wake) => setTimeout(wake, Math.min(15_000, 500 * 2 ** Math.min(tries, 5))));
      if (signal.aborted) break;
    }
  }
  transfer.speed = 0;
  next();
}

/** Worth another try: the network, the gate or the node are away, or a piece is still on its way. */
function passes(error: unknown): boolean {
  if (!(error instanceof Refused)) return false;
  return error.status === 0 || error.status >= 500 || ['busy', 'gone', 'broke', 'offset'].includes(error.code);
}

async function send(transfer: Transfer, work: Work, signal: AbortSignal, moved: () => void): Promise<void> {
  const goesOn = { signal, begun: true };
  if (!work.named) await carry(transfer, work, signal, moved);
  transfer.state = 'checking';
  work.named = true;
  try {
    // Asked again, it tells what became of it.
    let now = await remote.finish(work.upload, goesOn);
    while (now.stage === 'checking') {
      await new Promise((wake) => setTimeout(wake, 1000));
      now = await remote.state(work.upload, goesOn);
    }
    if (now.stage === 'failed') throw new Refused(400, 'failed', now.message ?? '', now.code ?? '');
    transfer.sha256 = now.sha256 ?? '';
    transfer.state = 'done';
  } catch (error) {
    // The gate knows no such upload, misses some of it, or says that it failed: that is no answer on its way that got lost.
    if (error instanceof Refused && (error.fault === 'failed' || ['gone', 'offset'].includes(error.code))) work.named = false;
    throw error;
  }
}

/** Brings all of it to the node. */
async function carry(transfer: Transfer, work: Work, signal: AbortSignal, moved: () => void): Promise<void> {
  const how = { signal };
  const goesOn = { ...how, begun: true };
  let now = await remote.start(transfer.place, transfer.directory, work.file, work.replace, how);
  work.upload = now.upload;
  transfer.moved = now.offset;
  transfer.state = 'running';
  let size = SMALL;
  while (now.offset < work.file.size) {
    const began = performance.now();
    const part = work.file.slice(now.offset, now.offset + size);
    try {
      now = await remote.piece(now.upload, now.offset, part, goesOn);
    } catch (error) {
      // A front that takes no more than so much: ours says what it minds.
      if (size > SMALL && error instanceof Refused && !error.code) largest = SMALL;
      throw error;
    }
    const seconds = (performance.now() - began) / 1000;
    transfer.moved = now.offset;
    const speed = part.size / Math.max(seconds, 0.001);
    transfer.speed = transfer.speed ? transfer.speed * 0.7 + speed * 0.3 : speed;
    size = seconds < 1 ? Math.min(largest, size * 2) : seconds > 4 ? Math.max(SMALL, size / 2) : size;
    moved();
  }
}

export function pause(transfer: Transfer): void {
  works.get(transfer.key)?.abort.abort();
  transfer.state = 'paused';
}

export function resume(transfer: Transfer): void {
  transfer.state = 'waiting';
  next();
}

export function replace(transfer: Transfer): void {
  const work = works.get(transfer.key);
  if (work) work.replace = true;
  resume(transfer);
}

/** Gives it up, wherever it is. */
export async function cancel(transfer: Transfer): Promise<void> {
  const work = works.get(transfer.key);
  work?.abort.abort();
  works.delete(transfer.key);
  forget(transfer);
  next();
  const id = work?.upload ?? '';
  if (transfer.up && id && !['done', 'failed'].includes(transfer.state)) {
    // The piece that was on its way has to end first.
    for (let tries = 0; tries < 10; tries += 1) {
      try {
        await remote.cancel(id);
        return;
      } catch (error) {
        if (!(error instanceof Refused) || error.code !== 'busy') return;
        await new Promise((wake) => setTimeout(wake, 300));
      }
    }
  } else if (!transfer.up) {
    for (const [id, key] of ids) if (key === transfer.key) await remote.stop(id).catch(() => {});
  }
}

export function forget(transfer: Transfer): void {
  transfers.all = transfers.all.filter((other) => other.key !== transfer.key);
}

export function forgetDone(): void {
  transfers.all = transfers.all.filter((t) => t.state !== 'done');
}

$effect.root(() => {
  $effect(() => {
    shown.active = transfers.all.filter((t) => ['waiting', 'running', 'again', 'checking'].includes(t.state)).length;
  });
});

/** Downloads by the gate's id. */
const ids = new Map<string, number>();
let watching = false;

async function watch(): Promise<void> {
  if (watching) return;
  watching = true;
  let before = new Map<string, number>();
  for (;;) {
    await new Promise((wake) => setTimeout(wake, 1000));
    const items = await remote.downloads().then((r) => r.items, () => null);
    if (!items) continue;
    const seen = new Map<string, number>();
    let left = 0;
    for (const item of items) {
      const transfer = transfers.all.find((t) => t.key === ids.get(item.id));
      if (!transfer) continue;
      seen.set(item.id, item.sent);
      transfer.speed = Math.max(0, item.sent - (before.get(item.id) ?? 0));
      transfer.moved = item.sent;
      if (item.state === 'done') {
        transfer.state = 'done';
        transfer.sha256 = item.sha256 ?? '';
      } else if (item.state === 'failed') {
        transfer.state = 'failed';
        transfer.error = new Refused(400, 'failed', item.message ?? '', item.code ?? '');
      } else left += 1;
    }
    for (const transfer of transfers.all) {
      if (!transfer.up && transfer.state === 'running' && ![...seen.keys()].some((id) => ids.get(id) === transfer.key)) {
        transfer.state = 'failed';
        transfer.error = new Refused(404, 'failed', '', 'gone');
      }
    }
    before = seen;
    if (!left) break;
  }
  watching = false;
}

addEventListener('beforeunload', (event) => {
  // Who is signed out has nothing under way any more.
  if (session.now && transfers.all.some((t) => t.up && ['waiting', 'running', 'again', 'checking'].includes(t.state))) event.preventDefault();
});
