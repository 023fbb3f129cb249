// What only some may see: loaded when the gate says that one may, and served to nobody else.
import { learn } from '../lib/i18n.svelte';
import { may } from '../lib/session.svelte';
import Page from './Page.svelte';
import { en as operate } from './operate-en';
import { zh as operateZh } from './operate-zh';
import { en } from './words-en';
import { zh } from './words-zh';

learn({ en, 'zh-CN': zh });
learn({ en: operate, 'zh-CN': operateZh });

const ALL = [
  ['live', 'session_tracker', 'list'], ['recordings', 'session', 'list'], ['screens', 'session', 'read'], ['events', 'event', 'list'], ['users', 'user', 'list'],
  ['fleet', 'node', 'delete'], ['tokens', 'token', 'list'], ['roles', 'role', 'list'],
] as const;

export function places() {
  return { places: ALL.filter(([, kind, verb]) => may(kind, verb)).map(([id]) => ({ id, key: `place.${id}` })), Page };
}
