// What a table does with rows, apart from drawing: words, order, which columns, files for elsewhere.

export interface Column<T> {
  id: string;
  label: string;
  /** The cell in words: what filters look in, and what is exported. */
  text: (row: T) => string;
  /** What to order by, when not the words. */
  order?: (row: T) => string | number;
  mono?: boolean;
  /** Not shown until it is chosen. */
  away?: boolean;
  /** Filters do not look in it: what changes by itself is not what anybody looks for. */
  unsought?: boolean;
  /** May grow; the others are as wide as they need. */
  wide?: boolean;
  /** The language of its texts, where it is not the page's: what servers report is English. */
  lang?: string;
}

const made = new WeakMap<object, WeakMap<object, string>>();

/** One lower-cased line a row, made once. */
export function index<T extends object>(rows: T[], columns: Column<T>[]): string[] {
  const lines = made.get(columns) ?? new WeakMap<object, string>();
  made.set(columns, lines);
  const sought = columns.filter((c) => !c.unsought);
  return rows.map((row) => {
    let line = lines.get(row);
    if (line === undefined) lines.set(row, (line = sought.map((c) => c.text(row)).join(' ').toLowerCase()));
    return line;
  });
}

/** Makes the lines of many rows before they are shown, a few milliseconds at a time: keys come in between. */
export async function prepare<T extends object>(rows: T[], columns: Column<T>[]): Promise<void> {
  for (let from = 0; from < rows.length; from += SLICE) {
    if (from) await new Promise((done) => setTimeout(done));
    index(rows.slice(from, from + SLICE), columns);
  }
}

/** Rows whose lines are made at a time. */
const SLICE = 1_000;

/** Every word must occur. */
export function matching<T>(rows: T[], lines: string[], filter: string): T[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return rows;
  return rows.filter((_, i) => words.every((word) => lines[i]!.includes(word)));
}

/** `column` upwards, `-column` downwards. */
export function ordered<T>(rows: T[], columns: Column<T>[], by: string): T[] {
  const column = columns.find((c) => c.id === by.replace(/^-/, ''));
  if (!column) return rows;
  const order = column.order ?? ((row: T) => column.text(row).toLowerCase());
  const down = by.startsWith('-') ? -1 : 1;
  const keyed = rows.map((row) => [order(row), row] as const);
  keyed.sort(([a], [b]) => (a < b ? -down : a > b ? down : 0));
  return keyed.map(([, row]) => row);
}

/** RFC 4180; a leading `=`, `+`, `-` or `@` is kept from being a formula. */
export function csv<T>(rows: T[], columns: Column<T>[]): string {
  const cell = (text: string) => {
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [columns.map((c) => cell(c.label)), ...rows.map((row) => columns.map((c) => cell(c.text(row))))];
  return `\ufeff${lines.map((l) => l.join(',')).join('\r\n')}\r\n`;
}

/** Rows on view, with some to spare above and below. */
export function window_(top: number, height: number, row: number, spare: number, count: number): { from: number; to: number } {
  const from = Math.max(0, Math.min(count, Math.floor(top / row)) - spare);
  return { from, to: Math.min(count, Math.ceil((top + height) / row) + spare) };
}

/** A row of the page, and what it shows. */
export interface Seat<T> {
  id: number;
  row: T;
}

/** Which row of the page shows what. What stays keeps its own, and what comes takes one that is free. Those still free come last,
 * to be hidden; `held` is not passed on. */
export function seated<T>(before: Seat<T>[], rows: T[], key: (row: T) => string, held?: Seat<T>): Seat<T>[] {
  const own = new Map(before.map((seat) => [key(seat.row), seat]));
  const come = new Set(rows.map(key));
  const free = before.filter((seat) => seat !== held && !come.has(key(seat.row)));
  let next = Math.max(-1, ...before.map((seat) => seat.id)) + 1;
  const taken = rows.map((row) => {
    const seat = own.get(key(row)) ?? free.shift();
    return seat?.row === row ? seat : { id: seat?.id ?? next++, row };
  });
  return [...taken, ...free];
}

export function save(name: string, type: string, text: string): void {
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([text], { type }));
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 1000);
}
