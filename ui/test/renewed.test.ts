import { expect, test } from 'vitest';
import { renewed } from '../src/more/renewed';

const rows = (from: number, to: number) => Array.from({ length: from - to + 1 }, (_, i) => ({ id: String(from - i) }));

test.each([
  ['nothing came', [9, 5, '5'], [9, 5, '5'], [9, 5, '5']],
  ['some came, and push older ones off the page', [9, 5, '5'], [12, 8, '8'], [12, 5, '5']],
  ['older pages were fetched', [9, 0, ''], [12, 8, '8'], [12, 0, '']],
  ['all fit one page', [9, 5, ''], [12, 5, ''], [12, 5, '']],
  ['what had one page has two', [9, 5, ''], [12, 8, '8'], [12, 5, '']],
  ['more came than a page holds', [9, 5, '5'], [20, 16, '16'], [20, 16, '16']],
  ['the first ones came', null, [3, 1, '1'], [3, 1, '1']],
] as [string, [number, number, string] | null, [number, number, string], [number, number, string]][])('no row is lost when %s', (_, before, newest, wanted) => {
  const of = (page: [number, number, string] | null) => (page ? { items: rows(page[0], page[1]), next: page[2] } : { items: [], next: '' });

  expect(renewed(of(before), of(newest))).toEqual(of(wanted));
});

test('a row that was removed is gone from the newest page', () => {
  const newest = { items: rows(9, 5).filter((row) => row.id !== '7'), next: '5' };

  expect(renewed({ items: rows(9, 2), next: '2' }, newest).items.map((row) => row.id)).toEqual(['9', '8', '6', '5', '4', '3', '2']);
});
