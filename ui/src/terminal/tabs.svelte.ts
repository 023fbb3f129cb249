// The open terminals of this tab of the browser.
import { used } from '../lib/kept.svelte';
import { go } from '../lib/route.svelte';
import { key, type Goal } from './connection';

export interface Tab {
  key: number;
  node: string;
  name: string;
  login: string;
  goal: Goal;
}

/** At most so many are side by side. */
export const MOST_BESIDE = 4;

export const open = $state<{ tabs: Tab[]; shown: number; beside: number[] }>({ tabs: [], shown: 0, beside: [] });
let last = 0;

function add(tab: Omit<Tab, 'key'>, split: boolean): void {
  last += 1;
  open.tabs.push({ ...tab, key: last });
  if (split && open.beside.length < MOST_BESIDE) {
    open.beside = [...open.beside, last];
    open.shown = last;
  } else show(last);
  go(['terminals']);
}

/** Brings a tab to the front: where it is, or in the place of the one that had the keyboard. */
export function show(key: number): void {
  if (!open.beside.includes(key)) {
    open.beside = open.beside.includes(open.shown) ? open.beside.map((other) => (other === open.shown ? key : other)) : [...open.beside.slice(0, MOST_BESIDE - 1), key];
  }
  open.shown = key;
}

/** Only this one is on view; the others stay in their tabs. */
export function alone(key: number): void {
  open.beside = [key];
  open.shown = key;
}

export function shell(node: string, name: string, login: string, split = false): void {
  used({ node, name, login });
  add({ node, name, login, goal: { node, login, keep: key() } }, split);
}

export function resume(terminal: string, node: string, name: string, login: string): void {
  add({ node, name, login, goal: { terminal } }, false);
}

export function shut(key: number): void {
  const at = open.tabs.findIndex((tab) => tab.key === key);
  open.tabs = open.tabs.filter((tab) => tab.key !== key);
  open.beside = open.beside.filter((other) => other !== key);
  if (open.shown !== key) return;
  const next = open.beside.at(-1) ?? (open.tabs[at] ?? open.tabs[at - 1])?.key ?? 0;
  if (next) show(next);
  else open.shown = 0;
}

/** What comes back later comes back to this shell, not to a new one. */
export function named(key: number, terminal: string): void {
  const tab = open.tabs.find((other) => other.key === key);
  if (tab) tab.goal = 'keep' in tab.goal ? { ...tab.goal, terminal, back: true } : { terminal };
}

/** Somebody else is here now. */
export function forget(): void {
  open.tabs = [];
  open.beside = [];
  open.shown = 0;
}
