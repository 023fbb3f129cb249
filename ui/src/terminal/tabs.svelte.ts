// The open terminals of this tab of the browser.
import { used } from '../lib/kept.svelte';
import { go } from '../lib/route.svelte';
import type { Goal } from './connection';

export interface Tab {
  key: number;
  node: string;
  name: string;
  login: string;
  goal: Goal;
}

export const open = $state<{ tabs: Tab[]; shown: number }>({ tabs: [], shown: 0 });
let last = 0;

function add(tab: Omit<Tab, 'key'>): void {
  last += 1;
  open.tabs.push({ ...tab, key: last });
  open.shown = last;
  go(['terminals']);
}

export function shell(node: string, name: string, login: string): void {
  used({ node, name, login });
  add({ node, name, login, goal: { node, login } });
}

export function resume(terminal: string, node: string, name: string, login: string): void {
  add({ node, name, login, goal: { terminal } });
}

export function shut(key: number): void {
  const at = open.tabs.findIndex((tab) => tab.key === key);
  open.tabs = open.tabs.filter((tab) => tab.key !== key);
  if (open.shown === key) open.shown = (open.tabs[at] ?? open.tabs[at - 1])?.key ?? 0;
}
