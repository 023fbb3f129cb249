// Search over nodes, fast at ten thousand: one lower-cased line a node, made once; every word must occur.
import type { NodeView } from '../api/types';

export interface Row {
  node: NodeView;
  line: string;
  tags: string[];
}

export function index(nodes: NodeView[]): Row[] {
  return nodes.map((node) => {
    const tags = Object.entries(node.labels ?? {}).map(([k, v]) => `${k}=${v}`);
    return { node, tags, line: `${node.name} ${node.id} ${tags.join(' ')}`.toLowerCase() };
  });
}

export function matching(rows: Row[], search: string, tags: string[]): Row[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => words.every((w) => row.line.includes(w)) && tags.every((tag) => row.tags.includes(tag)));
}

/** Labels by key with how many nodes have each value; keys with one value on every node tell nothing apart. */
export function facets(rows: Row[]): { key: string; values: { tag: string; value: string; n: number }[] }[] {
  const found = new Map<string, Map<string, number>>();
  for (const { node } of rows) {
    for (const [key, value] of Object.entries(node.labels ?? {})) {
      const values = found.get(key) ?? new Map<string, number>();
      values.set(value, (values.get(value) ?? 0) + 1);
      found.set(key, values);
    }
  }
  return [...found]
    .filter(([, values]) => values.size > 1 && values.size <= 50)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, values]) => ({
      key,
      values: [...values].sort((a, b) => b[1] - a[1]).map(([value, n]) => ({ tag: `${key}=${value}`, value, n })),
    }));
}
