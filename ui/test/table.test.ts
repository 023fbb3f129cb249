import { expect, test } from 'vitest';
import type { NodeView } from '../src/api/types';
import { facets } from '../src/lib/filter';
import { diff, marks, shortened } from '../src/more/role-text';
import { csv, index, matching, ordered, seated, window_, type Column } from '../src/table/model';

const nodes = Array.from({ length: 10_000 }, (_, i): NodeView => ({
  id: String(i), name: `gpu-${i}`, last_seen: '', liveness: 'online', logins: [], version: '1',
  labels: { zone: `z${i % 7}`, gpu: i % 2 ? 'h100' : 'h800', serial: String(i) },
}));
const columns: Column<NodeView>[] = [
  { id: 'name', label: 'Name', text: (n) => n.name, order: (n) => Number(n.id) },
  { id: 'labels', label: 'Labels', text: (n) => Object.entries(n.labels ?? {}).map(([k, v]) => `${k}=${v}`).join(' ') },
];

test('every word of a filter must occur, in any case', () => {
  const found = matching(nodes, index(nodes, columns), 'gpu-99 H100');
  expect(found.length).toBeGreaterThan(0);
  expect(found.every((n) => n.name.includes('gpu-99') && n.labels!['gpu'] === 'h100')).toBe(true);
  expect(facets(nodes).map((side) => side.key)).toEqual(['gpu', 'zone']);
});

test('a filter does not look in what changes by itself, and a line is made once', () => {
  let made = 0;
  const own: Column<NodeView>[] = [
    { id: 'name', label: 'Name', text: (n) => { made += 1; return n.name; } },
    { id: 'seen', label: 'Seen', text: () => 'two minutes ago', unsought: true },
  ];
  expect(matching(nodes, index(nodes, own), 'minutes')).toEqual([]);
  expect(matching(nodes.slice(0, 50), index(nodes.slice(0, 50), own), 'gpu-4').length).toBe(11);
  expect(made).toBe(nodes.length);
});

test('rows are ordered by a column, both ways', () => {
  expect(ordered(nodes, columns, '-name')[0]!.name).toBe('gpu-9999');
  expect(ordered(nodes, columns, 'name')[0]!.name).toBe('gpu-0');
  expect(ordered(nodes, columns, 'nonsense')).toBe(nodes);
});

test('only the rows on view are drawn', () => {
  expect(window_(0, 460, 46, 10, 10_000)).toEqual({ from: 0, to: 20 });
  expect(window_(46_000, 460, 46, 10, 10_000)).toEqual({ from: 990, to: 1020 });
  expect(window_(9e9, 460, 46, 10, 10_000).to).toBe(10_000);
});

test('a row that stays keeps its place in the page; one that comes takes a free one, unless somebody is in it', () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => ({ id }));
  const of = (seats: { id: number; row: { id: string } }[]) => seats.map((seat) => `${seat.row.id}${seat.id}`).join(' ');
  const key = (row: { id: string }) => row.id;
  const first = seated([], [a!, b!, c!], key);

  expect(of(first)).toBe('a0 b1 c2');
  expect(seated(first, [a!, b!, c!], key)).toEqual(first);
  expect(of(seated(first, [c!, d!], key))).toBe('c2 d0 b1');
  expect(of(seated(first, [c!, d!], key, first[0]))).toBe('c2 d1');
  expect(of(seated(first, [b!, d!, a!, c!], key))).toBe('b1 d3 a0 c2');
  expect(of(seated(seated(first, [b!], key), [a!, b!, c!], key))).toBe('a0 b1 c2');
  expect(seated(first, [{ ...a! }], key)[0]!.row).not.toBe(a);
});

test('what goes into a spreadsheet is quoted, and is no formula', () => {
  const rows = [{ a: 'x,"y"' }, { a: '=HYPERLINK()' }];
  expect(csv(rows, [{ id: 'a', label: 'A', text: (r) => r.a }])).toBe('\ufeffA\r\n"x,""y"""\r\n\'=HYPERLINK()\r\n');
});

test('what is wrong with a role is said with its line', () => {
  const good = 'kind: role\nversion: v7\nmetadata:\n  name: dev\nspec:\n  allow:\n    logins: [root]\n';
  expect(marks(good)).toEqual([]);
  const of = (text: string) => marks(text).map((m) => [m.line, m.key, m.with['key']]);
  expect(of(good.replace('[root]', 'root'))).toEqual([[7, 'roles.notList', 'logins']]);
  expect(of(good.replace('allow', 'alow'))).toEqual([[6, 'roles.unknown', 'alow']]);
  expect(of(good.replace('  name: dev', '  title: dev'))).toEqual([[4, 'roles.unknown', 'title'], [4, 'roles.missing', 'name']]);
  expect(marks('a: [').some((m) => m.key === 'roles.badYaml' && m.grave)).toBe(true);
});

test('a change shows the lines that come and go', () => {
  expect(diff('a\nb\nc\n', 'a\nx\nc\nd\n')).toEqual([
    { text: 'a', how: 'same' }, { text: 'b', how: 'gone' }, { text: 'x', how: 'added' }, { text: 'c', how: 'same' }, { text: 'd', how: 'added' },
  ]);
});

test('of a long text what changed is shown with a few lines around it', () => {
  const before = Array.from({ length: 20 }, (_, i) => `line ${i}`).join('\n');

  const shown = shortened(diff(before, before.replace('line 9', 'line nine')), 2);

  expect(shown.map((line) => ('skipped' in line ? line.skipped : line.text))).toEqual([7, 'line 7', 'line 8', 'line 9', 'line nine', 'line 10', 'line 11', 8]);
});
