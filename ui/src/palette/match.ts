// Finding what was meant: words first, then letters in order, so that a slip of the finger still finds it.

/** 0 when it does not fit; more is better. `text` is lower-cased. */
export function score(text: string, wanted: string): number {
  if (!wanted) return 1;
  const at = text.indexOf(wanted);
  if (at >= 0) return 1000 - Math.min(at, 400) + (at === 0 || /[^\p{L}\p{N}]/u.test(text[at - 1]!) ? 300 : 0) - Math.min(text.length, 200) / 10;
  if (wanted.includes(' ')) {
    const parts = wanted.split(/\s+/).filter(Boolean).map((word) => score(text, word));
    return parts.every((s) => s > 0) ? Math.min(...parts) : 0;
  }
  // Letters in order; each jump costs. One letter may be missing.
  let [from, jumps, missed] = [0, 0, 0];
  for (const letter of wanted) {
    const next = text.indexOf(letter, from);
    if (next < 0) {
      missed += 1;
      if (missed > (wanted.length > 3 ? 1 : 0)) return 0;
    } else {
      jumps += next - from;
      from = next + 1;
    }
  }
  return Math.max(1, 300 - jumps * 8 - missed * 120);
}

/** The best of them, best first. */
export function best<T extends { text: string }>(items: T[], wanted: string, most: number): T[] {
  const lower = wanted.trim().toLowerCase();
  const scored: [number, T][] = [];
  for (const item of items) {
    const s = score(item.text, lower);
    if (s > 0) scored.push([s, item]);
  }
  return scored.sort(([a], [b]) => b - a).slice(0, most).map(([, item]) => item);
}
