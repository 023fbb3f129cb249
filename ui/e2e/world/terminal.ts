// A terminal as its user has it: keys, and the rows on view (without WebGL they are elements of the page).
import type { Page } from 'playwright-core';
import { until } from './process';

/** Opens a shell from the node's row. */
export async function open(page: Page, node = 'gpu-1'): Promise<void> {
  await page.getByRole('button', { name: new RegExp(`(Connect to|连接到) ?${node}`) }).click();
  await page.locator('dialog[open] button[type=submit]').click();
  await shows(page, /[#$] *$/m);
}

/** The rows of the terminals on view. */
export function text(page: Page): Promise<string> {
  return page.evaluate(() => {
    const rows = [...document.querySelectorAll<HTMLElement>('.xterm-rows > div')].filter((row) => row.offsetParent);
    return rows.map((row) => (row.textContent ?? '').replace(/\u00a0/g, ' ').trimEnd()).join('\n').trimEnd();
  });
}

/** Waits until the terminal shows it. */
export async function shows(page: Page, wanted: RegExp, limit?: number): Promise<string> {
  let last = '';
  try {
    return await until(String(wanted), async () => {
      last = await text(page);
      return wanted.test(last) ? last : undefined;
    }, limit);
  } catch (error) {
    throw new Error(`${String(error)}; the terminal shows:\n${last}`);
  }
}

/** Types a line at the shell. */
export async function type(page: Page, line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press('Enter');
}
