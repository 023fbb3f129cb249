// What somebody who hears a page is told, as text that is the same in every run.
import type { Page } from 'playwright-core';

const DATE = /\b[A-Z][a-z]{2} \d{1,2}, \d{4}|\d{4}年\d{1,2}月\d{1,2}日|\d{1,4}\/\d{1,2}\/\d{2,4}/.source;
const CLOCK = /\d{1,2}:\d{2}(?::\d{2})?(?:\s[AP]M)?/.source;
/** What changes from run to run, and what stands for it. */
const CHANGING: [RegExp, string][] = [
  [/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>'],
  [/\b[0-9a-f]{12}\b/g, '<id>'],
  [/(?<=127\.0\.0\.1):\d+/g, ':<port>'],
  [new RegExp(`(?:${DATE}),? ${CLOCK}`, 'g'), '<time>'],
  [/\d+ (second|minute|hour)s? ago|\d+ ?(秒钟?|分钟|小时)前|(?<=cell "|signed in |last used )now\b|(?<=cell "|登录时间：|添加时间：|上次使用：)现在/g, '<ago>'],
  [/(?<=cell ")\d+:\d{2}(?=")|(?<=cell ")[\d.]+ (B|kB|MB)(?=")/g, '<size>'],
  [/\b0\.\d+\.\d+(-\w+)?(?=")/g, '<version>'],
  // How many rows there are.
  [/(?<=- status: .*)\d+/g, '<n>'],
  // A role as its file has it.
  [/(?<=- text: )"kind: role .*$/gm, '<role>'],
];

/** Without what lies deeper than line `at`. */
function cut(lines: string[], at: number, keep = at + 1): void {
  const depth = (line: string | undefined) => line?.search(/\S/) ?? -1;
  let end = at + 1;
  while (depth(lines[end]) > depth(lines[at])) end += 1;
  lines.splice(keep, Math.max(0, end - keep));
}

/** Of a table its head and, if `row`, the first row: how many there are, and which came last, differs. */
function shorten(lines: string[], row: boolean): void {
  const table = lines.findIndex((line) => /^ +- table/.test(line));
  const groups = lines.flatMap((line, n) => (n > table && /^ +- rowgroup/.test(line) ? [n] : []));
  if (table < 0 || groups.length < 2) return;
  const body = groups[1]!;
  const rows = lines.flatMap((line, n) => (n > body && /^ +- '?row /.test(line) ? [n] : []));
  cut(lines, body, row ? rows[1] ?? lines.length : body + 1);
  if (row) lines[body + 1] = lines[body + 1]!.replace(/- .*/, '- row:');
  else lines[body] += ' <rows>';
}

export interface Cut {
  /** The frame's menus, too: elsewhere they are `- banner`, for they are the same everywhere. */
  frame: boolean;
  /** The first row of the table, too. */
  row: boolean;
}

/** The page's accessibility tree (Playwright's `ariaSnapshot`) with `<what it is>` for all that changes. */
export async function told(page: Page, keep: Cut): Promise<string> {
  const lines = (await page.locator('body').ariaSnapshot()).split('\n');
  const banner = lines.indexOf('- banner:');
  if (banner >= 0 && !keep.frame) {
    cut(lines, banner);
    lines[banner] = '- banner';
  }
  shorten(lines, keep.row);
  return CHANGING.reduce((text, [what, name]) => text.replace(what, name), lines.join('\n')) + '\n';
}
