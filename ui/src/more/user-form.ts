// What a form about a user says, and what of it is new: only that is sent, so that nobody is granted anew what was taken meanwhile.
import type { UpdateUser } from '../api/users';
import type { User } from '../api/types';
import { LIST } from './format';

export interface Said { roles: string; logins: string }

const words = (text: string) => text.split(LIST).filter(Boolean);
const same = (one: string[], other: string[]) => one.join('\n') === other.join('\n');
const loginsOf = (user: User) => user.traits?.['logins'] ?? [];

export const said = (user: User): Said => ({ roles: user.roles.join(' '), logins: loginsOf(user).join(', ') });

/** What a new user is made with. */
export function made(form: Said): { roles: string[]; traits: Record<string, string[]> } {
  const logins = words(form.logins);
  return { roles: words(form.roles), traits: logins.length ? { logins } : {} };
}

/** What is to be changed; null when nothing is. */
export function changed(user: User, form: Said): UpdateUser | null {
  const [roles, logins] = [words(form.roles), words(form.logins)];
  const ask: UpdateUser = { name: user.name };
  if (!same(roles, user.roles)) ask.roles = roles;
  if (!same(logins, loginsOf(user))) {
    const { logins: _, ...others } = user.traits ?? {};
    ask.traits = logins.length ? { ...others, logins } : others;
  }
  return ask.roles || ask.traits ? ask : null;
}
