import { expect, test } from 'vitest';
import { en as files } from '../src/files/words-en';
import { zh as filesZh } from '../src/files/words-zh';
import { en as more } from '../src/more/words-en';
import { zh as moreZh } from '../src/more/words-zh';
import { en as operate } from '../src/more/operate-en';
import { zh as operateZh } from '../src/more/operate-zh';
import { en } from '../src/text/en';
import { en as told } from '../src/told/words-en';
import { zh as toldZh } from '../src/told/words-zh';
import { zh } from '../src/text/zh';

const slots = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort().join();

test.each([['everybody', en, zh], ['those with files', files, filesZh], ['some', more, moreZh], ['operators', operate, operateZh], ['those who are told', told, toldZh]] as [string, Record<string, string>, Record<string, string>][])(
  'the words of %s are complete in both languages', (_, english, chinese) => {
    expect(Object.keys(chinese).sort()).toEqual(Object.keys(english).sort());
    for (const [key, text] of Object.entries(english)) {
      expect(chinese[key], key).not.toBe('');
      expect(slots(chinese[key]!), key).toBe(slots(text));
      if (!/^(tokens\.for|term\.ms|app\.named|nodes\.of|table\.of)$/.test(key)) expect(/[\u4e00-\u9fff]/.test(chinese[key]!), key).toBe(true);
      // Marks beside Chinese are Chinese ones, and words and numbers between Chinese stand apart.
      expect(chinese[key], key).not.toMatch(/[\u4e00-\u9fff\u201d][,:;?!()]|[,:;?!()][\u4e00-\u9fff\u201c]|[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]/);
    }
  });

test('what everybody may load says nothing of what only some may see', () => {
  const words = [...Object.values(en), ...Object.values(zh), ...Object.values(files), ...Object.values(filesZh)].join('\n');
  expect(words).not.toMatch(/record|replay|audit|录像|录制|审计|回放/i);
});
