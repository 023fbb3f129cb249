// Words in two languages. A dictionary is complete or it does not compile; {name} is replaced, {n} picks key_one or key.
import { en } from '../text/en';
import { zh } from '../text/zh';

export type Language = 'en' | 'zh-CN';
export type Words = Record<string, string>;

const kept = localStorage.getItem('language');
const guessed: Language = navigator.language.toLowerCase().startsWith('zh') ? 'zh-CN' : 'en';
export const speech = $state<{ language: Language }>({ language: kept === 'en' || kept === 'zh-CN' ? kept : guessed });

const books: Record<Language, Words> = { en: { ...en }, 'zh-CN': { ...zh } };

/** Adds the words of a part that was loaded later. */
export function learn(words: Record<Language, Words>): void {
  Object.assign(books.en, words.en);
  Object.assign(books['zh-CN'], words['zh-CN']);
}

export function speak(language: Language): void {
  speech.language = language;
  localStorage.setItem('language', language);
  document.documentElement.lang = language;
}
document.documentElement.lang = speech.language;

const made = new Map<string, unknown>();
/** Made once for each language: to make one takes longer than a hundred uses of it. */
function once<T>(what: string, make: (language: Language) => T): T {
  const key = `${speech.language} ${what}`;
  if (!made.has(key)) made.set(key, make(speech.language));
  return made.get(key) as T;
}

export function t(key: string, with_: Record<string, string | number> = {}): string {
  const book = books[speech.language];
  const n = with_['n'];
  const one = typeof n === 'number' && once('plural', (language) => new Intl.PluralRules(language)).select(n) === 'one' ? book[`${key}_one`] : undefined;
  return (one ?? book[key] ?? key).replace(/\{(\w+)\}/g, (_, name: string) => String(with_[name] ?? ''));
}

function dated(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  return once(`${options.dateStyle} ${options.timeStyle}`, (language) => new Intl.DateTimeFormat(language, options));
}

/** A moment in the viewer's zone. */
export function when(at: string | null | undefined): string {
  if (!at) return '';
  return dated({ dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(at));
}

/** A moment as logs have it, for whoever compares with another zone. */
export function utc(at: string | null | undefined): string {
  return at ? `${new Date(at).toISOString().replace('T', ' ').replace(/(\.\d+)?Z$/, '')} UTC` : '';
}

/** The time of day in the viewer's zone; with the date when that is another one. */
export function clockTime(at: string, now = new Date()): string {
  const date = new Date(at);
  const same = date.toDateString() === now.toDateString();
  return dated(same ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' }).format(date);
}

/** A number stands apart from Chinese words, here as in every text. */
function spaced(text: string): string {
  return text.replace(/(\d)(?=\p{Script=Han})/gu, '$1 ');
}

/** How long ago, in words. */
export function ago(at: string | null | undefined, now = Date.now()): string {
  if (!at) return '';
  const seconds = Math.round((Date.parse(at) - now) / 1000);
  const format = once('ago', (language) => new Intl.RelativeTimeFormat(language, { numeric: 'auto' }));
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]] as const) {
    if (Math.abs(seconds) >= size) return spaced(format.format(Math.round(seconds / size), unit));
  }
  return spaced(format.format(seconds, 'second'));
}
