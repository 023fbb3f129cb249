// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { bytes, json, lines, type How } from '../lib/transport';
import type { Mark, RecordingInfo, ScreenRow, SegmentReceipt, SegmentSpan, SessionId, Timestamp } from './types';

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

/** What exportAsciicast asks. */
export interface ExportAsciicast {
  /** The session. */ "id": SessionId;
  /** 2 or 3. Default 3. */ "version"?: number | null;
}
/** What exportAsciicast answers. */
export type ExportAsciicastAnswer = Record<string, unknown>;
/** A recording as asciicast, line by line. */
export function exportAsciicast(ask: ExportAsciicast, how?: How): AsyncGenerator<ExportAsciicastAnswer> {
  return lines<ExportAsciicastAnswer>('GET', '/v1/recordings/{id}/asciicast', ask, how);
}

/** What getPicture asks. */
export interface GetPicture {
  /** The session. */ "id": SessionId;
  /** The segment. */ "n": number;
  /** The moment, in microseconds since the recording began. Default: where the segment begins. */ "at"?: number | null;
}
/** What getPicture answers. */
export type GetPictureAnswer = {
  /** When the last of those was, in microseconds since the recording began; 0 when there are none. */ "at"?: number;
  /** Columns. */ "cols": number;
  /** How many of the segment's frames have been drawn on it: what follows is drawn from there on. */ "frames"?: number;
  /** Rows. */ "rows": number;
  /** What to write to a fresh terminal of that size. */ "state": string;
  /** Where the segment's next picture is; absent when this is its last. */ "until"?: number | null;
};
/** The screen where a segment begins, or at a moment. */
export function getPicture(ask: GetPicture, how?: How): Promise<GetPictureAnswer> {
  return json<GetPictureAnswer>('GET', '/v1/recordings/{id}/pictures/{n}', ask, how);
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

/** What getTimeline asks. */
export interface GetTimeline {
  /** The session. */ "id": SessionId;
  /** Only from this segment on. Default: from the first. */ "from"?: number | null;
}
/** What getTimeline answers. */
export type GetTimelineAnswer = {
  /** Bytes shown in each bucket from the beginning on; at most 2,000 buckets. */ "activity": (number)[];
  /** Length of a bucket of `activity`, in microseconds. */ "bucket": number;
  /** What it is. */ "info": RecordingInfo;
  /** What happened when, in order; at most 20,000. */ "marks": (Mark)[];
  /** One for each segment from the one asked for, in order. Fewer than there are segments while looking through them goes on. */ "spans": (SegmentSpan)[];
};
/** Where things happened in a recording. */
export function getTimeline(ask: GetTimeline, how?: How): Promise<GetTimelineAnswer> {
  return json<GetTimelineAnswer>('GET', '/v1/recordings/{id}/timeline', ask, how);
}

/** What getTranscript asks. */
export interface GetTranscript {
  /** The session. */ "id": SessionId;
  /** From this segment on. */ "from": number;
}
/** What getTranscript answers. */
export type GetTranscriptAnswer = {
  /** The segment after the last one of the piece. */ "next": number;
  /** The rows. */ "rows": (ScreenRow)[];
};
/** What was to be seen, row by row. */
export function getTranscript(ask: GetTranscript, how?: How): Promise<GetTranscriptAnswer> {
  return json<GetTranscriptAnswer>('GET', '/v1/recordings/{id}/transcript', ask, how);
}
