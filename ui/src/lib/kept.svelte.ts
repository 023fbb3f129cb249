// What one person marked or used on this browser: favourites and recents. Kept here, told to nobody.
import { session } from './session.svelte';

const RECENT = 8;

export interface Recent {
  node: string;
  name: string;
  login: string;
}

function read<T>(name: string, or: T): T {
  try {
    return (JSON.parse(localStorage.getItem(`${name}.${session.now?.user ?? ''}`) ?? 'null') as T | null) ?? or;
  } catch {
    return or;
  }
}
function write(name: string, value: unknown): void {
  localStorage.setItem(`${name}.${session.now?.user ?? ''}`, JSON.stringify(value));
}

export const kept = $state<{ favourites: string[]; recents: Recent[] }>({ favourites: [], recents: [] });

/** Reads what belongs to whoever is signed in. */
export function recall(): void {
  kept.favourites = read<string[]>('favourites', []);
  kept.recents = read<Recent[]>('recents', []);
}

export function favour(node: string): void {
  kept.favourites = kept.favourites.includes(node) ? kept.favourites.filter((id) => id !== node) : [...kept.favourites, node];
  write('favourites', kept.favourites);
}

export function used(recent: Recent): void {
  kept.recents = [recent, ...kept.recents.filter((r) => r.node !== recent.node || r.login !== recent.login)].slice(0, RECENT);
  write('recents', kept.recents);
}
