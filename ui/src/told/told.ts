// For those who are told what is kept of their sessions: the page that asks, and the words. Served to nobody else.
import { learn } from '../lib/i18n.svelte';
import Consent from './Consent.svelte';
import { en } from './words-en';
import { zh } from './words-zh';

learn({ en, 'zh-CN': zh });

export { Consent };
