// Which part of the way hurts, when something does: this page to the gate, or the gate to its authority. Looked into only
// when a call waits long or fails; asked again until all is well, and then whoever failed tries once more.
import { at, watchWay } from './transport';

export const hops = $state<{ hurts: '' | 'gate' | 'authority'; well: number }>({ hurts: '', well: 0 });

/** How long each part has to answer before it is named; it is waited for on, and given up at last. */
const PATIENCE = 4_000;
const GIVE_UP = 20_000;
const AGAIN = 2_000;
let looking = false;

/** The status that came, or 0. */
async function asked(path: string, part: 'gate' | 'authority'): Promise<number> {
  const late = setTimeout(() => (hops.hurts = part), PATIENCE);
  try {
    return (await fetch(at(path), { cache: 'no-store', credentials: 'same-origin', signal: AbortSignal.timeout(GIVE_UP) })).status;
  } catch {
    return 0;
  } finally {
    clearTimeout(late);
  }
}
const well = (status: number) => status > 0 && status < 500;

/** The gate hands out its own picture alone; who is signed in, it asks its authority. */
async function where(): Promise<typeof hops.hurts> {
  if (!well(await asked('/moon.svg', 'gate'))) return 'gate';
  if (hops.hurts === 'gate') hops.hurts = '';
  return well(await asked('/webapi/session', 'authority')) ? '' : 'authority';
}

async function look(): Promise<void> {
  if (looking) return;
  looking = true;
  while ((hops.hurts = await where())) await new Promise((done) => setTimeout(done, AGAIN));
  looking = false;
  hops.well += 1;
}

watchWay(() => void look());
