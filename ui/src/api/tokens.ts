// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { Secret, Span, SystemRole, Timestamp, Token } from './types';

/** What listTokens asks. */
export interface ListTokens {}
/** What listTokens answers. */
export type ListTokensAnswer = {
  /** The rows. */ "items": (Token)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** Every join token, without secrets. */
export function listTokens(ask: ListTokens = {}, how?: How): Promise<ListTokensAnswer> {
  return json<ListTokensAnswer>('GET', '/v1/tokens', ask, how);
}

/** What createToken asks. */
export interface CreateToken {
  /** Labels for nodes that join with it. */ "labels"?: Record<string, string>;
  /** What may join with it. */ "roles": (SystemRole)[];
  /** How long it is good. Default 30 min. */ "ttl"?: Span | null;
  /** The secret wanted; made from 16 random bytes when absent. At least 16 characters. */ "value"?: Secret | null;
}
/** What createToken answers. */
export type CreateTokenAnswer = {
  /** `sha256:<hex>` pins of the host CA. */ "ca_pins": (string)[];
  /** When it ends. */ "expires": Timestamp;
  /** Its id in lists. */ "id": string;
  /** Public addresses of proxies to join through. */ "proxy_addrs": (string)[];
  /** What may join with it. */ "roles": (SystemRole)[];
  /** The secret. */ "secret": Secret;
};
/** Makes a join token and shows it once. */
export function createToken(ask: CreateToken, how?: How): Promise<CreateTokenAnswer> {
  return json<CreateTokenAnswer>('POST', '/v1/tokens', ask, how);
}

/** What deleteToken asks. */
export interface DeleteToken {
  /** The id from the list, or the secret itself. */ "id": string;
}
/** What deleteToken answers. */
export type DeleteTokenAnswer = Record<string, unknown>;
/** Removes a join token. */
export function deleteToken(ask: DeleteToken, how?: How): Promise<DeleteTokenAnswer> {
  return json<DeleteTokenAnswer>('DELETE', '/v1/tokens/{id}', ask, how);
}
