// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { bytes, json, type How } from '../lib/transport';
import type { RecordingInfo, SegmentReceipt, SessionId, Timestamp } from './types';

/** What listRecordings asks. */
export interface ListRecordings {
  /** Not before. */ "from"?: Timestamp | null;
  /** At most this many. Default 50, at most 1,000. */ "limit"?: number | null;
  /** Continue after this. */ "start"?: string;
  /** Not after. */ "to"?: Timestamp | null;
  /** Only this user's. */ "user"?: string;
}
/** What listRecordings answers. */
export type ListRecordingsAnswer = {
  /** The rows. */ "items": (RecordingInfo)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Recordings, newest first. */
export function listRecordings(ask: ListRecordings = {}, how?: How): Promise<ListRecordingsAnswer> {
  return json<ListRecordingsAnswer>('GET', '/v1/recordings', ask, how);
}

/** What getRecording asks. */
export interface GetRecording {
  /** The session. */ "id": SessionId;
}
/** What getRecording answers. */
export type GetRecordingAnswer = {
  /** Signed statement of how many segments there are, once it is complete or abandoned: Ed25519 by the cluster's audit key, base64. */ "closing_signature"?: string;
  /** What it is. */ "info": RecordingInfo;
  /** A receipt for each segment, in order. */ "receipts": (SegmentReceipt)[];
  /** The node's sealing key (32 bytes, base64). */ "seal_key": string;
};
/** One recording with its receipts. */
export function getRecording(ask: GetRecording, how?: How): Promise<GetRecordingAnswer> {
  return json<GetRecordingAnswer>('GET', '/v1/recordings/{id}', ask, how);
}

/** What getSegment asks. */
export interface GetSegment {
  /** The session. */ "id": SessionId;
  /** Which. */ "n": number;
}
/** What getSegment answers. */
export type GetSegmentAnswer = Uint8Array;
/** One segment's bytes as sealed. */
export function getSegment(ask: GetSegment, how?: How): Promise<GetSegmentAnswer> {
  return bytes<GetSegmentAnswer>('GET', '/v1/recordings/{id}/segments/{n}', ask, how);
}
