import { expect, test } from 'vitest';
import { Transcript } from '../src/more/transcript';

const bytes = (text: string) => new TextEncoder().encode(text);

test('lines come out as they looked', () => {
  const text = new Transcript();
  text.push(1, bytes('\x1b[1;32mann@n1\x1b[0m:~$ lss\b \b\r\n'));
  text.push(2, bytes('10%\r20%\r100%\n'));
  text.push(3, bytes('\x1b]0;title\x07你好\n'));
  text.push(4, bytes('\x1b[3'));
  text.push(5, bytes('1mred'));
  expect(text.all()).toEqual([
    { at: 1, text: 'ann@n1:~$ ls' }, { at: 2, text: '100%' }, { at: 3, text: '你好' }, { at: 5, text: 'red' },
  ]);
});

test('a character split over two frames is one character', () => {
  const text = new Transcript();
  const all = bytes('月\n');
  text.push(1, all.slice(0, 1));
  text.push(2, all.slice(1));
  expect(text.all()).toEqual([{ at: 2, text: '月' }]);
});
