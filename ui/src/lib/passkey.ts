// Passkeys: what the gate asks and the browser answers, in the browser's own words.
import { addPasskey, beginPasskey } from '../api/me';
import type { Device } from '../api/types';
import { json } from './transport';

export interface Answer { id: string; client_data: string; authenticator_data: string; signature: string }

export const canPasskey = (): boolean => 'PublicKeyCredential' in window && 'credentials' in navigator;

const text = (bytes: ArrayBuffer): string =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
const bytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));

/** The person shut the browser's own dialog, or it gave up. */
export class Declined extends Error {}

function declined(error: unknown): never {
  if (error instanceof DOMException && ['NotAllowedError', 'AbortError'].includes(error.name)) throw new Declined();
  throw error;
}

/** Asks for a passkey to sign in with; alone, it must say who it was. */
export async function answer(alone: boolean): Promise<Answer> {
  const { challenge, party } = await json<{ challenge: string; party: string }>('POST', '/webapi/sessions/passkey', {}, { apart: true });
  const found = (await navigator.credentials.get({
    publicKey: { challenge: bytes(challenge), rpId: party, userVerification: alone ? 'required' : 'preferred', timeout: 120_000 },
  }).catch(declined)) as PublicKeyCredential;
  const said = found.response as AuthenticatorAssertionResponse;
  return {
    id: text(found.rawId),
    client_data: text(said.clientDataJSON),
    authenticator_data: text(said.authenticatorData),
    signature: text(said.signature),
  };
}

/** Makes a passkey and gives it to the gate. */
export async function make(name: string, password: string): Promise<Device> {
  const asked = await beginPasskey({});
  const made = (await navigator.credentials.create({
    publicKey: {
      challenge: bytes(asked.challenge),
      rp: { id: asked.party, name: asked.party_name },
      user: { id: bytes(asked.user_id), name: asked.user, displayName: asked.user },
      pubKeyCredParams: asked.algorithms.map((alg) => ({ type: 'public-key' as const, alg })),
      excludeCredentials: asked.exclude.map((id) => ({ type: 'public-key' as const, id: bytes(id) })),
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
      attestation: 'none',
      timeout: 120_000,
    },
  }).catch(declined)) as PublicKeyCredential;
  const said = made.response as AuthenticatorAttestationResponse;
  return addPasskey({ name, password, client_data: text(said.clientDataJSON), attestation: text(said.attestationObject) });
}
