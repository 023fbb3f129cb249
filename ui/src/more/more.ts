// What only some may see: loaded when the gate says that one may, and served to nobody else.
import { learn } from '../lib/i18n.svelte';
import { may } from '../lib/session.svelte';
import Page from './Page.svelte';
import { en } from './words-en';
import { zh } from './words-zh';

learn({ en, 'zh-CN': zh });

const ALL = [
  ['live', 'session_tracker'], ['recordings', 'session'], ['events', 'event'], ['users', 'user'], ['tokens', 'token'], ['roles', 'role'],
] as const;

export function places() {
  return { places: ALL.filter(([, kind]) => may(kind, 'list')).map(([id]) => ({ id, key: `place.${id}` })), Page };
}
