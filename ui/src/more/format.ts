/** `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export { size } from '../lib/size';

/** Seconds of `1:02:03`, `2:03` or `123`; nothing when it is none of these. */
export function seconds(text: string): number | null {
  if (!/^\d+(:[0-5]?\d){0,2}(\.\d+)?$/.test(text.trim())) return null;
  return text.trim().split(':').reduce((all, part) => all * 60 + Number(part), 0);
}

/** With the quotation marks that phrases are found by: a Chinese keyboard writes others. */
export const plain = (text: string): string => text.replace(/[\u201c\u201d]/g, '"');

const wordsOf = (text: string) => plain(text).split('"').flatMap((part, i) => (i % 2 ? [part] : part.split(/\s+/))).filter(Boolean);
const DENSE = /[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\u{20000}-\u{3ffff}]/u;

/** Whether one word is long enough to be searched for: three characters, or two of Chinese, Japanese or Korean. */
export function searchable(text: string): boolean {
  return wordsOf(text).some((word) => [...word].reduce((all, c) => all + (DENSE.test(c) ? 2 : 1), 0) >= 3);
}

/** A text in pieces, those that were looked for apart: every word, and every "phrase in quotes". */
export function parts(text: string, wanted: string): { text: string; hit: boolean }[] {
  const words = wordsOf(wanted);
  if (!words.length) return [{ text, hit: false }];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return text.split(new RegExp(`(${escaped.join('|')})`, 'gi')).map((piece, i) => ({ text: piece, hit: i % 2 === 1 })).filter((p) => p.text);
}

/** What stands between the parts of a list that is typed: a Chinese keyboard has other commas. */
export const LIST = /[\s,\uff0c\u3001]+/;
