// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { ScreenHit, Timestamp } from './types';

/** What searchScreens asks. */
export interface SearchScreens {
  /** Only sessions that began not before. */ "from"?: Timestamp | null;
  /** At most this many. Default 50, at most 500. */ "limit"?: number | null;
  /** Only sessions on the node of this name or id. */ "node"?: string;
  /** Only this session. */ "session"?: string;
  /** Continue after this. */ "start"?: string;
  /** Words that must all be in one row, upper and lower case alike; `"two words"` for a phrase. The longest must have three characters, or two of Chinese, Japanese or Korean. */ "text": string;
  /** Only sessions that began not after. */ "to"?: Timestamp | null;
  /** Only this user's sessions. */ "user"?: string;
}
/** What searchScreens answers. */
export type SearchScreensAnswer = {
  /** The rows. */ "items": (ScreenHit)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Searches what was on the screen, newest recordings first. */
export function searchScreens(ask: SearchScreens, how?: How): Promise<SearchScreensAnswer> {
  return json<SearchScreensAnswer>('GET', '/v1/screens', ask, how);
}
