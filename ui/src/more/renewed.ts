// A list that grows at its head and is fetched page by page: its newest page anew, without losing what was fetched of older ones.

export interface Rows<T> {
  items: T[];
  /** Where the next older page begins; empty when there is none. */
  next: string;
}

export function renewed<T extends { id: string }>(before: Rows<T>, newest: Rows<T>): Rows<T> {
  if (!newest.next) return newest;
  const fresh = new Set(newest.items.map((row) => row.id));
  const joint = before.items.findLastIndex((row) => fresh.has(row.id));
  const older = before.items.slice(joint + 1);
  // More came than a page holds: what was there does not follow it.
  if (joint < 0 || !older.length) return newest;
  return { items: [...newest.items, ...older], next: before.next };
}
