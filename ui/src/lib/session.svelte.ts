// Who is signed in and what they may, as the gate says. Nothing is decided here: what is not granted is not shown.
import type { Answer } from './passkey';
import { hold, json, Refused, release, send, use, whenLocked, whenSignedOut } from './transport';

export interface Session {
  user: string;
  roles: string[];
  logins: string[];
  may: Record<string, string[]>;
  cluster: string;
  csrf: string;
  expires: string;
  /** Left alone for so long it is locked; absent when never. */
  lock_seconds?: number;
  /** What is told before each session of one's own; absent when nothing is. */
  notice?: { mode: 'banner' | 'consent'; keystrokes: boolean };
  /** Agreed to that, until signing out. */
  agreed?: boolean;
  /** Lines above the screen that a terminal keeps. */
  scrollback: number;
  version: string;
}

/** While it is `locked`, what was there before stays in `now`, and is not shown. */
export const session = $state<{ now: Session | null; locked: { user: string } | null; asked: boolean; unreachable: boolean; stays: unknown }>({
  now: null,
  locked: null,
  asked: false,
  unreachable: false,
  /** Why it is still signed in though it was to be signed out. */
  stays: null,
});

/** All tabs of one browser have one session: what happens in one is told to the others, which then ask for themselves. */
const tabs = new BroadcastChannel('moongate');
/** Counts locks and what opened them, so that an answer from before opens nothing, and locks nothing again. */
let turns = 0;
/** Who was signed in last: whatever this page holds is theirs. */
let whose = '';
/** How long, in ms, the gate may take to hear that somebody leaves. */
const LEAVE = 15_000;
/** The gate is yet to hear of the lock. */
let untold = false;
let telling = false;

function enter(told: Session | null): void {
  // Somebody else signed in, here or in another tab: nothing of whoever was here before stays, or goes on as theirs.
  if (told && whose && told.user !== whose) {
    session.now = null;
    return location.reload();
  }
  whose = told?.user ?? whose;
  session.now = told;
  session.asked = true;
  session.unreachable = false;
  if (!told) session.stays = null;
  if (session.locked) turns += 1;
  session.locked = null;
  use(told?.csrf ?? '');
  release();
}

whenSignedOut(() => enter(null));
whenLocked(() => shut(session.now?.user ?? ''));

export async function ask(): Promise<void> {
  if (session.locked && untold) return;
  const before = turns;
  try {
    const told = await json<Session>('GET', '/webapi/session', {}, { apart: true });
    if (before === turns) enter(told);
  } catch (error) {
    const refused = error instanceof Refused ? error : new Refused(0, 'unreachable', '');
    if (refused.code === 'locked') {
      // It was, when this was asked.
      if (before !== turns && !session.locked) return;
      use(String(refused.said['csrf'] ?? ''));
      shut(String(refused.said['user'] ?? ''));
    } else if (refused.status === 401) {
      if (before === turns) enter(null);
    } else session.unreachable = refused.status === 0 || refused.status >= 500;
    session.asked = true;
  }
}

/** Shows nothing more and asks for nothing more, at once. */
function shut(user: string): void {
  const fresh = !session.locked;
  session.locked = { user: user || (session.locked?.user ?? '') };
  if (!fresh) return;
  turns += 1;
  hold();
  tabs.postMessage('ask');
}

/** Locks this browser: all its tabs, and the gate for it. Asked again until the gate has heard. */
export async function lock(): Promise<void> {
  if (!session.now || telling || (session.locked && !untold)) return;
  untold = telling = true;
  if (!session.locked) tabs.postMessage('locked');
  shut(session.now.user);
  try {
    await send('POST', '/webapi/session/lock', {}, { apart: true });
    untold = false;
  } catch (error) {
    // It was locked already, or is signed out: what is so is asked next.
    untold = !(error instanceof Refused && error.status === 401);
  } finally {
    telling = false;
  }
  if (untold) return;
  tabs.postMessage('ask');
  await ask();
}

/** Opens it again; only for who it belongs to. */
export async function unlock(proof: { password: string; otp: string } | { passkey: Answer }): Promise<void> {
  try {
    enter(await json<Session>('POST', '/webapi/session/unlock', proof, { apart: true }));
    session.stays = null;
    tabs.postMessage('ask');
  } catch (error) {
    // Wrong, or over meanwhile.
    if (error instanceof Refused && error.status === 401) await ask();
    if (session.locked) throw error;
  }
}

/** The person did something. */
export async function alive(): Promise<void> {
  await send('POST', '/webapi/session/alive', {}).catch(() => {});
}

tabs.onmessage = ({ data }) => {
  if (data === 'ask') void ask();
  else if (session.now) shut(session.now.user);
};

export async function signIn(user: string, password: string, otp: string): Promise<void> {
  enter(await json<Session>('POST', '/webapi/sessions/web', { user, password, otp }, { apart: true }));
  tabs.postMessage('ask');
}

/** With a passkey: alone, or beside user and password. */
export async function signInWith(passkey: Answer, user: string, password: string): Promise<void> {
  enter(await json<Session>('POST', '/webapi/sessions/web', { user, password, passkey }, { apart: true }));
  tabs.postMessage('ask');
}

/** What the gate wants read before anyone signs in; empty when nothing, or when it cannot be asked. */
export async function toRead(): Promise<string> {
  try {
    return (await json<{ Text: string }>('GET', '/webapi/motd', {})).Text;
  } catch {
    return '';
  }
}

/** Agrees to what is told before sessions. */
export async function agree(): Promise<void> {
  await send('POST', '/webapi/session/agree', {});
  if (session.now) session.now.agreed = true;
}

/** Signs out. False while the gate has not heard of it: the cookie still opens everything, so nothing looks as if it did not. */
export async function signOut(): Promise<boolean> {
  try {
    await send('DELETE', '/webapi/sessions/web', {}, { apart: true, limit: LEAVE });
  } catch (error) {
    // Nobody is signed in here: that is what was wanted.
    if (!(error instanceof Refused && error.status === 401)) {
      session.stays = error;
      return false;
    }
  }
  enter(null);
  tabs.postMessage('ask');
  return true;
}

export function may(kind: string, verb: string): boolean {
  return session.now?.may[kind]?.includes(verb) ?? false;
}

/** There is more to see than nodes. */
export function mayMore(): boolean {
  return Object.keys(session.now?.may ?? {}).some((kind) => kind !== 'own' && kind !== 'node');
}
