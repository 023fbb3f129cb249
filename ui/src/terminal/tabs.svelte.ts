// The open terminals of this tab of the browser.
import { used } from '../lib/kept.svelte';
import { go } from '../lib/route.svelte';
import { session, signOut } from '../lib/session.svelte';
import { key, type Goal } from './connection';

export interface Tab {
  key: number;
  node: string;
  name: string;
  login: string;
  goal: Goal;
  /** Nobody can come back to it. */
  over?: boolean;
}

/** At most so many are side by side. */
export const MOST_BESIDE = 4;

export const open = $state<{ tabs: Tab[]; shown: number; beside: number[] }>({ tabs: [], shown: 0, beside: [] });
let last = 0;

/** Where this tab of the browser keeps what leads back to its shells when it is loaded anew (docs/adr/0018). */
const KEPT = 'terminals';
/** How long a page that was here before has to let go of them: it is gone at once, and on a busy machine soon. */
const HANDOVER = 10_000;
interface Kept { user: string; name: string; shown: number; shells: { node: string; name: string; login: string; keep: string }[] }
/** What this page holds them by: a copy of the tab that is made while it lives leaves them alone. */
let holds = '';
let recalled = false;

function hold(name: string): Promise<boolean> {
  return new Promise((done) => {
    const held = () => {
      done(true);
      return new Promise<void>(() => {});
    };
    if (!navigator.locks) void held();
    else navigator.locks.request(`terminals-${name}`, { signal: AbortSignal.timeout(HANDOVER) }, held).catch(() => done(false));
  });
}

function save(): void {
  const user = session.now?.user;
  if (!user) return;
  recalled = true;
  const back = open.tabs.filter((tab) => 'keep' in tab.goal && !tab.over);
  if (!back.length) return sessionStorage.removeItem(KEPT);
  if (!holds) void hold((holds = key().slice(0, 16)));
  const shells = back.map(({ node, name, login, goal }) => ({ node, name, login, keep: 'keep' in goal ? goal.keep : '' }));
  const kept: Kept = { user, name: holds, shown: Math.max(0, back.findIndex((tab) => tab.key === open.shown)), shells };
  sessionStorage.setItem(KEPT, JSON.stringify(kept));
}

/** Comes back to what this tab had open before it was loaded anew. */
export async function recall(): Promise<void> {
  const text = sessionStorage.getItem(KEPT);
  if (!text || recalled) return;
  recalled = true;
  let kept: Kept;
  try {
    kept = JSON.parse(text) as Kept;
  } catch {
    return sessionStorage.removeItem(KEPT);
  }
  if (kept.user !== session.now?.user || !kept.shells?.length) return sessionStorage.removeItem(KEPT);
  if (!(await hold(kept.name))) return open.tabs.length ? undefined : sessionStorage.removeItem(KEPT);
  if (kept.user !== session.now?.user) return;
  holds ||= kept.name;
  const back: Tab[] = kept.shells.map(({ node, name, login, keep }) => ({ key: ++last, node, name, login, goal: { node, login, keep, back: true } }));
  open.tabs = [...back, ...open.tabs];
  if (!open.shown) show((back[kept.shown] ?? back[0]!).key);
  else save();
}

function add(tab: Omit<Tab, 'key'>, split: boolean): void {
  last += 1;
  open.tabs.push({ ...tab, key: last });
  if (split && open.beside.length < MOST_BESIDE) {
    open.beside = [...open.beside, last];
    open.shown = last;
    save();
  } else show(last);
  go(['terminals']);
}

/** What a tab is called: a number tells shells of one account on one node apart. */
export function title(tab: Tab): string {
  const alike = open.tabs.filter((other) => other.node === tab.node && other.login === tab.login);
  return `${tab.login}@${tab.name}${alike.length > 1 ? ` (${alike.indexOf(tab) + 1})` : ''}`;
}

/** Brings a tab to the front: where it is, or in the place of the one that had the keyboard. */
export function show(key: number): void {
  if (!open.beside.includes(key)) {
    open.beside = open.beside.includes(open.shown) ? open.beside.map((other) => (other === open.shown ? key : other)) : [...open.beside.slice(0, MOST_BESIDE - 1), key];
  }
  open.shown = key;
  save();
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
  if (open.shown === key) {
    const next = open.beside.at(-1) ?? (open.tabs[at] ?? open.tabs[at - 1])?.key ?? 0;
    if (next) show(next);
    else open.shown = 0;
  }
  save();
}

/** It has ended: there is nothing to come back to. */
export function over(key: number): void {
  const tab = open.tabs.find((other) => other.key === key);
  // Who is not signed in any more may sign in again, and come back.
  if (!tab || !session.now) return;
  tab.over = true;
  save();
}

/** What comes back later comes back to this shell, not to a new one. */
export function named(key: number, terminal: string): void {
  const tab = open.tabs.find((other) => other.key === key);
  if (tab) tab.goal = 'keep' in tab.goal ? { ...tab.goal, terminal, back: true } : { terminal };
}

/** Signs out, and keeps nothing to come back to. */
export async function leave(): Promise<void> {
  if (await signOut()) forget();
}

/** Nobody comes back to what is open. */
export function forget(): void {
  open.tabs = [];
  open.beside = [];
  open.shown = 0;
  sessionStorage.removeItem(KEPT);
}
