// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, lines, type How } from '../lib/transport';
import type { AuditEvent, ChainedEvent, Checkpoint, Timestamp } from './types';

/** What searchEvents asks. */
export interface SearchEvents {
  /** Oldest first instead of newest first. */ "ascending"?: boolean;
  /** Not before. */ "from"?: Timestamp | null;
  /** At most this many. Default 100, at most 10,000. */ "limit"?: number | null;
  /** Only events of this session. */ "session"?: string;
  /** Continue after this. */ "start"?: string;
  /** Not after. */ "to"?: Timestamp | null;
  /** Only these types, separated by commas. */ "types"?: string;
  /** Only events about this user. */ "user"?: string;
}
/** What searchEvents answers. */
export type SearchEventsAnswer = {
  /** The rows. */ "items": (AuditEvent)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Searches the audit log. */
export function searchEvents(ask: SearchEvents = {}, how?: How): Promise<SearchEventsAnswer> {
  return json<SearchEventsAnswer>('GET', '/v1/events', ask, how);
}

/** What exportChain asks. */
export interface ExportChain {
  /** From this index. */ "from"?: number;
  /** At most this many links. Default 1,000, at most 10,000. */ "limit"?: number | null;
}
/** What exportChain answers. */
export type ExportChainAnswer = {
  /** Checkpoints that fall in this piece, in order. */ "checkpoints": (Checkpoint)[];
  /** Links, in order. */ "links": (ChainedEvent)[];
  /** How many links there are in all. */ "total": number;
};
/** The audit log's links and signed checkpoints, for verification. */
export function exportChain(ask: ExportChain = {}, how?: How): Promise<ExportChainAnswer> {
  return json<ExportChainAnswer>('GET', '/v1/events/chain', ask, how);
}

/** What tailEvents asks. */
export interface TailEvents {
  /** Start after this index. */ "after"?: number | null;
}
/** What tailEvents answers. */
export type TailEventsAnswer = Record<string, unknown>;
/** Follows the audit log. */
export function tailEvents(ask: TailEvents = {}, how?: How): AsyncGenerator<TailEventsAnswer> {
  return lines<TailEventsAnswer>('GET', '/v1/events/tail', ask, how);
}
