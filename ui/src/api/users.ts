// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { RoleName, Secret, Span, Timestamp, User, UserName } from './types';

/** What listUsers asks. */
export interface ListUsers {}
/** What listUsers answers. */
export type ListUsersAnswer = {
  /** The rows. */ "items": (User)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Every user. */
export function listUsers(ask: ListUsers = {}, how?: How): Promise<ListUsersAnswer> {
  return json<ListUsersAnswer>('GET', '/v1/users', ask, how);
}

/** What createUser asks. */
export interface CreateUser {
  /** The name. */ "name": UserName;
  /** The roles; all must exist. */ "roles": (RoleName)[];
  /** Traits, e.g. `logins`. */ "traits"?: Record<string, (string)[]>;
  /** How long the link is good. Default 1 h, at most 48 h. */ "ttl"?: Span | null;
}
/** What createUser answers. */
export type CreateUserAnswer = {
  /** When it ends. */ "expires": Timestamp;
  /** The secret part: the page is `https://<proxy>/web/invite/<secret>` (or `/web/reset/`). */ "secret": Secret;
  /** The whole link, with the first known public address of a proxy. */ "url": Secret;
  /** For whom. */ "user": UserName;
};
/** Makes a user and an invite link. */
export function createUser(ask: CreateUser, how?: How): Promise<CreateUserAnswer> {
  return json<CreateUserAnswer>('POST', '/v1/users', ask, how);
}

/** What deleteUser asks. */
export interface DeleteUser {
  /** Whom. */ "name": UserName;
}
/** What deleteUser answers. */
export type DeleteUserAnswer = Record<string, unknown>;
/** Removes a user. */
export function deleteUser(ask: DeleteUser, how?: How): Promise<DeleteUserAnswer> {
  return json<DeleteUserAnswer>('DELETE', '/v1/users/{name}', ask, how);
}

/** What getUser asks. */
export interface GetUser {
  /** Whom. */ "name": UserName;
}
/** What getUser answers. */
export type GetUserAnswer = {
  /** When. */ "created_at": Timestamp;
  /** Who made the user. */ "created_by"?: string;
  /** Has set a password (and second factor) and can sign in. */ "enrolled"?: boolean;
  /** When the user can no longer sign in. */ "expires"?: Timestamp | null;
  /** Locked out by wrong tries until then. */ "locked_until"?: Timestamp | null;
  /** The name. */ "name": UserName;
  /** The store's revision. */ "revision"?: string | null;
  /** The roles held. */ "roles": (RoleName)[];
  /** Traits, e.g. `logins`. */ "traits"?: Record<string, (string)[]>;
};
/** One user. */
export function getUser(ask: GetUser, how?: How): Promise<GetUserAnswer> {
  return json<GetUserAnswer>('GET', '/v1/users/{name}', ask, how);
}

/** What updateUser asks. */
export interface UpdateUser {
  /** Whom. */ "name": UserName;
  /** New roles; `None` leaves them. */ "roles"?: (RoleName)[] | null;
  /** New traits; `None` leaves them. */ "traits"?: Record<string, (string)[]> | null;
}
/** What updateUser answers. */
export type UpdateUserAnswer = {
  /** When. */ "created_at": Timestamp;
  /** Who made the user. */ "created_by"?: string;
  /** Has set a password (and second factor) and can sign in. */ "enrolled"?: boolean;
  /** When the user can no longer sign in. */ "expires"?: Timestamp | null;
  /** Locked out by wrong tries until then. */ "locked_until"?: Timestamp | null;
  /** The name. */ "name": UserName;
  /** The store's revision. */ "revision"?: string | null;
  /** The roles held. */ "roles": (RoleName)[];
  /** Traits, e.g. `logins`. */ "traits"?: Record<string, (string)[]>;
};
/** Changes a user's roles and traits. */
export function updateUser(ask: UpdateUser, how?: How): Promise<UpdateUserAnswer> {
  return json<UpdateUserAnswer>('PUT', '/v1/users/{name}', ask, how);
}

/** What resetUser asks. */
export interface ResetUser {
  /** Whom. */ "name": UserName;
  /** How long the link is good. Default 1 h, at most 48 h. */ "ttl"?: Span | null;
}
/** What resetUser answers. */
export type ResetUserAnswer = {
  /** When it ends. */ "expires": Timestamp;
  /** The secret part: the page is `https://<proxy>/web/invite/<secret>` (or `/web/reset/`). */ "secret": Secret;
  /** The whole link, with the first known public address of a proxy. */ "url": Secret;
  /** For whom. */ "user": UserName;
};
/** Revokes a user's password and makes a reset link. */
export function resetUser(ask: ResetUser, how?: How): Promise<ResetUserAnswer> {
  return json<ResetUserAnswer>('POST', '/v1/users/{name}/reset', ask, how);
}
