// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { RoleName, UserName } from './types';

/** What whoAmI asks. */
export interface WhoAmI {}
/** What whoAmI answers. */
export type WhoAmIAnswer = {
  /** Logins one may ask for, over all roles. */ "logins": (string)[];
  /** What one may do: `kind` to verbs. Kinds with none are left out. */ "may": Record<string, (string)[]>;
  /** Roles held now. */ "roles": (RoleName)[];
  /** The user. */ "user": UserName;
};
/** Who the caller is and what they may do. */
export function whoAmI(ask: WhoAmI = {}, how?: How): Promise<WhoAmIAnswer> {
  return json<WhoAmIAnswer>('GET', '/v1/me', ask, how);
}
