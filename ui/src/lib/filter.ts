// Labels of many nodes as facets.
import type { NodeView } from '../api/types';

/** A label with more values than this is a name, and no way to choose. */
const MANY = 50;

const tags = new WeakMap<NodeView, string[]>();

/** A node's labels as `key=value`, made once. */
export function tagsOf(node: NodeView): string[] {
  let made = tags.get(node);
  if (!made) tags.set(node, (made = Object.entries(node.labels ?? {}).map(([key, value]) => `${key}=${value}`)));
  return made;
}

/** Labels by key with how many nodes have each value; keys with one value on every node tell nothing apart. */
export function facets(nodes: NodeView[]): { key: string; values: { tag: string; value: string; n: number }[] }[] {
  const found = new Map<string, Map<string, number>>();
  for (const node of nodes) {
    const labels = node.labels ?? {};
    for (const key in labels) {
      const values = found.get(key) ?? new Map<string, number>();
      if (values.size > MANY) continue;
      values.set(labels[key]!, (values.get(labels[key]!) ?? 0) + 1);
      found.set(key, values);
    }
  }
  return [...found]
    .filter(([, values]) => values.size > 1 && values.size <= MANY)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, values]) => ({
      key,
      values: [...values].sort((a, b) => b[1] - a[1]).map(([value, n]) => ({ tag: `${key}=${value}`, value, n })),
    }));
}
