// Labels of many nodes as facets.
import type { NodeView } from '../api/types';

/** Labels by key with how many nodes have each value; keys with one value on every node tell nothing apart. */
export function facets(nodes: NodeView[]): { key: string; values: { tag: string; value: string; n: number }[] }[] {
  const found = new Map<string, Map<string, number>>();
  for (const node of nodes) {
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
