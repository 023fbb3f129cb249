// What only some may see: loaded when the gate says that one may, and served to nobody else.
import { learn } from '../lib/i18n.svelte';
import { may } from '../lib/session.svelte';
import Page from './Page.svelte';
import { en } from './words-en';
import { zh } from './words-zh';

learn({ en, 'zh-CN': zh });

const ALL: readonly (readonly [string, string, string?])[] = [
  ['live', 'session_tracker'], ['recordings', 'session'], ['screens', 'session', 'read'], ['events', 'event'], ['users', 'user'], ['tokens', 'token'], ['roles', 'role'],
];

export function places() {
  return { places: ALL.filter(([, kind, verb]) => may(kind, verb ?? 'list')).map(([id]) => ({ id, key: `place.${id}` })), Page };
}
