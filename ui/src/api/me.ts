// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.
import { json, type How } from '../lib/transport';
import type { Device, DeviceKind, RoleName, Secret, Timestamp, Told, UserName } from './types';

/** What whoAmI asks. */
export interface WhoAmI {}
/** What whoAmI answers. */
export type WhoAmIAnswer = {
  /** Logins one may ask for, over all roles. */ "logins": (string)[];
  /** What one may do: `kind` to verbs. Kinds with none are left out. */ "may": Record<string, (string)[]>;
  /** What is told before each session of one's own; absent when nothing is. */ "notice"?: Told | null;
  /** Roles held now. */ "roles": (RoleName)[];
  /** The user. */ "user": UserName;
};
/** Who the caller is and what they may do. */
export function whoAmI(ask: WhoAmI = {}, how?: How): Promise<WhoAmIAnswer> {
  return json<WhoAmIAnswer>('GET', '/v1/me', ask, how);
}

/** What listDevices asks. */
export interface ListDevices {}
/** What listDevices answers. */
export type ListDevicesAnswer = {
  /** The rows. */ "items": (Device)[];
  /** Pass as `start` to get the next page; empty at the end. */ "next"?: string;
};
/** The caller's devices. */
export function listDevices(ask: ListDevices = {}, how?: How): Promise<ListDevicesAnswer> {
  return json<ListDevicesAnswer>('GET', '/v1/me/devices', ask, how);
}

/** What addPasskey asks. */
export interface AddPasskey {
  /** `attestationObject`. */ "attestation": string;
  /** `clientDataJSON`. */ "client_data": string;
  /** What to call it. */ "name": string;
  /** The password, once more. */ "password": Secret;
}
/** What addPasskey answers. */
export type AddPasskeyAnswer = {
  /** Since when it is there, where that is known. */ "added"?: Timestamp | null;
  /** Its id. */ "id": string;
  /** What kind it is. */ "kind": DeviceKind;
  /** What it is called. */ "name": string;
  /** When it was last used. */ "used"?: Timestamp | null;
};
/** Adds a passkey. */
export function addPasskey(ask: AddPasskey, how?: How): Promise<AddPasskeyAnswer> {
  return json<AddPasskeyAnswer>('POST', '/v1/me/passkeys', ask, how);
}

/** What beginPasskey asks. */
export interface BeginPasskey {}
/** What beginPasskey answers. */
export type BeginPasskeyAnswer = {
  /** COSE numbers of the keys taken, best first. */ "algorithms": (number)[];
  /** What is to be signed. */ "challenge": string;
  /** Ids of the passkeys there are: an authenticator that holds one makes no second. */ "exclude": (string)[];
  /** The relying party's id: a host name. */ "party": string;
  /** What to call the relying party: the cluster's name. */ "party_name": string;
  /** The user's name. */ "user": string;
  /** The user's handle. */ "user_id": string;
};
/** A challenge to add a passkey with. */
export function beginPasskey(ask: BeginPasskey = {}, how?: How): Promise<BeginPasskeyAnswer> {
  return json<BeginPasskeyAnswer>('POST', '/v1/me/passkeys/begin', ask, how);
}

/** What renamePasskey asks. */
export interface RenamePasskey {
  /** Which. */ "id": string;
  /** What to call it. */ "name": string;
}
/** What renamePasskey answers. */
export type RenamePasskeyAnswer = Record<string, unknown>;
/** Gives a passkey another name. */
export function renamePasskey(ask: RenamePasskey, how?: How): Promise<RenamePasskeyAnswer> {
  return json<RenamePasskeyAnswer>('PUT', '/v1/me/passkeys/{id}', ask, how);
}

/** What removePasskey asks. */
export interface RemovePasskey {
  /** Which. */ "id": string;
  /** The password, once more. */ "password": Secret;
}
/** What removePasskey answers. */
export type RemovePasskeyAnswer = Record<string, unknown>;
/** Removes a passkey. */
export function removePasskey(ask: RemovePasskey, how?: How): Promise<RemovePasskeyAnswer> {
  return json<RemovePasskeyAnswer>('POST', '/v1/me/passkeys/{id}/remove', ask, how);
}
