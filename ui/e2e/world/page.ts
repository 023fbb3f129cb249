// What can be said of any page of the app.
import type { Page } from 'playwright-core';
import { en } from '../../src/text/en';
import { zh } from '../../src/text/zh';

const COMING = [en['app.loading'], zh['app.loading']];

/** Waits until the place is drawn and nothing says that it, or a part of it, is still coming. */
export async function settled(page: Page): Promise<void> {
  await page.locator(':is(main h1, main strong, main form):visible').first().waitFor();
  await page.waitForFunction((words) => {
    const said = [...document.querySelectorAll('[role=status]')];
    return !said.some((one) => one.matches('.empty') || words.includes(one.textContent?.trim() ?? ''));
  }, COMING);
}

/** Signs of what has the keyboard. */
export function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const on = document.activeElement;
    return [on?.tagName.toLowerCase(), on?.getAttribute('aria-label') ?? on?.textContent?.trim().slice(0, 40)].join(' ');
  });
}

/** Presses Tab until what has the keyboard matches. */
export async function tabTo(page: Page, wanted: RegExp, most = 60): Promise<void> {
  const seen: string[] = [];
  for (let i = 0; i < most; i += 1) {
    await page.keyboard.press('Tab');
    const on = await focused(page);
    if (wanted.test(on)) return;
    seen.push(on);
  }
  throw new Error(`${String(wanted)} is not on the way of the Tab key: ${seen.join(' → ')}`);
}
