// Who is signed in and what they may, as the gate says. Nothing is decided here: what is not granted is not shown.
import type { Answer } from './passkey';
import { json, Refused, send, use, whenSignedOut } from './transport';

export interface Session {
  user: string;
  roles: string[];
  logins: string[];
  may: Record<string, string[]>;
  cluster: string;
  csrf: string;
  expires: string;
  idle_seconds: number;
  /** What is told before each session of one's own; absent when nothing is. */
  notice?: { mode: 'banner' | 'consent'; keystrokes: boolean };
  /** Agreed to that, until signing out. */
  agreed?: boolean;
  version: string;
}

export const session = $state<{ now: Session | null; asked: boolean; unreachable: boolean }>({
  now: null,
  asked: false,
  unreachable: false,
});

function enter(told: Session | null): void {
  session.now = told;
  session.asked = true;
  session.unreachable = false;
  use(told?.csrf ?? '');
}

whenSignedOut(() => enter(null));

export async function ask(background = false): Promise<void> {
  try {
    enter(await json<Session>('GET', '/webapi/session', {}, { background }));
  } catch (error) {
    session.unreachable = error instanceof Refused && (error.status === 0 || error.status >= 500);
    session.asked = true;
  }
}

export async function signIn(user: string, password: string, otp: string): Promise<void> {
  enter(await json<Session>('POST', '/webapi/sessions/web', { user, password, otp }));
}

/** With a passkey: alone, or beside user and password. */
export async function signInWith(passkey: Answer, user: string, password: string): Promise<void> {
  enter(await json<Session>('POST', '/webapi/sessions/web', { user, password, passkey }));
}

/** Agrees to what is told before sessions. */
export async function agree(): Promise<void> {
  await send('POST', '/webapi/session/agree', {});
  if (session.now) session.now.agreed = true;
}

export async function signOut(): Promise<void> {
  await send('DELETE', '/webapi/sessions/web', {}).catch(() => {});
  enter(null);
}

export function may(kind: string, verb: string): boolean {
  return session.now?.may[kind]?.includes(verb) ?? false;
}

/** There is more to see than nodes. */
export function mayMore(): boolean {
  return Object.keys(session.now?.may ?? {}).some((kind) => kind !== 'own' && kind !== 'node');
}
