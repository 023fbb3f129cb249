import { expect, test } from 'vitest';
import { clock, LIST, parts, plain, searchable, seconds } from '../src/more/format';

test('times are read as they are written', () => {
  for (const at of [0, 59, 60, 3599, 3600, 36_000]) expect(seconds(clock(at))).toBe(at);
  expect(seconds('90')).toBe(90);
  for (const bad of ['', 'x', '1:99', '1:2:3:4', '-1']) expect(seconds(bad)).toBeNull();
});

test('what was looked for stands apart, whatever it is', () => {
  const hits = (text: string, wanted: string) => parts(text, wanted).filter((p) => p.hit).map((p) => p.text);
  expect(hits('Permission denied (a+b)', 'denied "(a+b)"')).toEqual(['denied', '(a+b)']);
  expect(hits('发生错误', '错误')).toEqual(['错误']);
  expect(parts('plain', '')).toEqual([{ text: 'plain', hit: false }]);
});

test('what is too short to be searched for is known before it is asked', () => {
  for (const good of ['abc', 'a bcd', '错误', '"a b"', 'a错']) expect(searchable(good), good).toBe(true);
  for (const bad of ['', 'ab', 'a b c', '错', '""']) expect(searchable(bad), bad).toBe(false);
});

test('a Chinese keyboard writes other commas and quotation marks', () => {
  expect('access\uff0cauditor\u3001admin, root ops'.split(LIST)).toEqual(['access', 'auditor', 'admin', 'root', 'ops']);
  expect(plain('\u201ccuda error\u201d 超时')).toBe('"cuda error" 超时');
  expect(parts('cuda error', '\u201ccuda error\u201d')).toEqual([{ text: 'cuda error', hit: true }]);
});
