// Reads long lists of JSON a few milliseconds at a time: keys come in between.

/** How the gate's lists begin. */
const HEAD = '{"items":[';
/** Characters read at a time: at most two milliseconds' work. */
const SLICE = 100_000;

/** What `JSON.parse` makes of it, and what it throws. */
export async function parse(text: string): Promise<unknown> {
  if (text.length <= SLICE || !text.startsWith(HEAD)) return JSON.parse(text) as unknown;
  const items: unknown[] = [];
  for (let from = HEAD.length; ;) {
    const to = cut(text, from);
    if (to === text.length) return JSON.parse(text) as unknown; // It has no end, and is refused.
    items.push(...(JSON.parse(`[${text.slice(from, to)}]`) as unknown[]));
    from = to + 1;
    if (text[to] === ']') return { ...(JSON.parse(`${HEAD}]${text.slice(from)}`) as object), items };
    await new Promise((done) => setTimeout(done));
  }
}

/** Where the list ends, or an item before it that is a slice away. */
function cut(text: string, from: number): number {
  let depth = 0;
  for (let i = from; i < text.length; i += 1) {
    const letter = text[i];
    if (letter === '"') i = closing(text, i);
    else if (letter === '{' || letter === '[') depth += 1;
    else if (letter === '}' || letter === ']') {
      if (!depth) return i;
      depth -= 1;
    } else if (letter === ',' && !depth && i - from >= SLICE) return i;
  }
  return text.length;
}

/** Where the string ends that begins at `i`. */
function closing(text: string, i: number): number {
  for (i += 1; i < text.length && text[i] !== '"'; i += 1) if (text[i] === '\\') i += 1;
  return i;
}
