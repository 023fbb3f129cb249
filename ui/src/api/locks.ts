// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { Lock, LockTarget, RequestId, Span, Timestamp } from './types';

/** What listLocks asks. */
export interface ListLocks {}
/** What listLocks answers. */
export type ListLocksAnswer = {
  /** The rows. */ "items": (Lock)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Every lock in force. */
export function listLocks(ask: ListLocks = {}, how?: How): Promise<ListLocksAnswer> {
  return json<ListLocksAnswer>('GET', '/v1/locks', ask, how);
}

/** What createLock asks. */
export interface CreateLock {
  /** For admins. */ "message"?: string;
  /** Who or what; at least one field. */ "target": LockTarget;
  /** How long; until removed when absent. */ "ttl"?: Span | null;
}
/** What createLock answers. */
export type CreateLockAnswer = {
  /** When it was made. */ "created_at": Timestamp;
  /** Who made it. */ "created_by": string;
  /** When it ends; `None` until removed. */ "expires"?: Timestamp | null;
  /** Its id. */ "id": RequestId;
  /** Shown to admins; shown to the person only if policy says so. */ "message"?: string;
  /** Who or what. */ "target": LockTarget;
};
/** Stops a user, role, login or node at once. */
export function createLock(ask: CreateLock, how?: How): Promise<CreateLockAnswer> {
  return json<CreateLockAnswer>('POST', '/v1/locks', ask, how);
}

/** What deleteLock asks. */
export interface DeleteLock {
  /** Which. */ "id": RequestId;
}
/** What deleteLock answers. */
export type DeleteLockAnswer = Record<string, unknown>;
/** Removes a lock. */
export function deleteLock(ask: DeleteLock, how?: How): Promise<DeleteLockAnswer> {
  return json<DeleteLockAnswer>('DELETE', '/v1/locks/{id}', ask, how);
}
