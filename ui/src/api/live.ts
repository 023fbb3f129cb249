// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { LiveSession, SessionId } from './types';

/** What listLive asks. */
export interface ListLive {}
/** What listLive answers. */
export type ListLiveAnswer = {
  /** The rows. */ "items": (LiveSession)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Sessions going on now. */
export function listLive(ask: ListLive = {}, how?: How): Promise<ListLiveAnswer> {
  return json<ListLiveAnswer>('GET', '/v1/live', ask, how);
}

/** What endSession asks. */
export interface EndSession {
  /** The session. */ "id": SessionId;
  /** Why; goes into the audit log. */ "reason"?: string;
}
/** What endSession answers. */
export type EndSessionAnswer = Record<string, unknown>;
/** Ends a live session. */
export function endSession(ask: EndSession, how?: How): Promise<EndSessionAnswer> {
  return json<EndSessionAnswer>('POST', '/v1/live/{id}/end', ask, how);
}
