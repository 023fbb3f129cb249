import { expect, test } from 'vitest';
import { parse } from '../src/lib/json';

const items = Array.from({ length: 1_500 }, (_, i) => ({ id: i, name: `a "}],[{" \\ ${i}\\`, in: { list: [{ id: `},{"id":${i}` }, []] }, none: null }));

test('a long list is read in slices, and is what it is', async () => {
  let turns = 0;
  const timer = setInterval(() => (turns += 1));
  await same({ items, next: 'more' });
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);

  await same({ items });
  await same({ items: Array.from({ length: 10 }, () => 'x'.repeat(30_000)), next: '' });
});

test('what is short, or no list, or laid out otherwise, is read at once', async () => {
  for (const said of [{ items: [] }, { items: [1], next: '' }, 'x'.repeat(200_000), { all: items }, null]) await same(said);
  expect(JSON.stringify(await parse(JSON.stringify({ items }, null, 1)))).toBe(JSON.stringify({ items }));
});

test('what is cut off or broken is refused', async () => {
  const text = JSON.stringify({ items, next: '' });
  for (const bad of ['', text.slice(0, -1), text.slice(0, -12), text.slice(0, 110_000), text.replace('"in":', '"in"'), `${text}]`]) {
    await expect(parse(bad)).rejects.toBeInstanceOf(SyntaxError);
  }
});

async function same(value: unknown): Promise<void> {
  expect(JSON.stringify(await parse(JSON.stringify(value)))).toBe(JSON.stringify(value));
}
