import { expect, test } from 'vitest';
import { visit, world } from '../world/browser';
import { focused, settled, tabTo } from '../world/page';
import { until } from '../world/process';
import { shows, type } from '../world/terminal';

test('everything can be done by keyboard: a node found, a shell worked in and left, a table walked', async () => {
  const page = await visit('nodes', { cookie: world.admin });
  await settled(page);

  await page.keyboard.press('Control+k');
  await page.keyboard.type('gpu2');
  await page.getByRole('option', { name: /gpu-2/, selected: true }).waitFor();
  await page.keyboard.press('Enter');
  await page.locator('dialog[open] h1', { hasText: 'gpu-2' }).waitFor();
  await tabTo(page, /^button Open a terminal/, 8);
  await page.keyboard.press('Enter');
  await shows(page, /[#$] *$/m);
  await type(page, 'echo by-hand-$((7))');
  await shows(page, /^by-hand-7$/m);

  await page.keyboard.press('Control+Shift+F6');
  await until('the tab to have the keyboard', async () => ((await focused(page)).includes('root@gpu-2') ? true : undefined));
  await page.keyboard.press('Delete');
  await page.getByText('No terminal is open').waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('users');
  await page.getByRole('option', { name: 'Users', selected: true }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Users' }).waitFor();
  await page.locator('tbody tr').first().waitFor();
  await tabTo(page, /^tr /);
  const first = await focused(page);
  await page.keyboard.press('ArrowDown');
  await until('the next row', async () => ((await focused(page)) !== first ? true : undefined));
  await page.keyboard.press('Home');
  await until('the first row', async () => ((await focused(page)) === first ? true : undefined));
  await tabTo(page, /^button Change/, 4);
  await page.keyboard.press('Enter');
  await page.locator('dialog[open]').waitFor();
  await page.keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
});

test('what has the keyboard is always to be seen, and nothing holds it', async () => {
  const page = await visit('nodes', { cookie: world.admin });
  await settled(page);
  const seen = new Set<string>();

  for (let i = 0; i < 50; i += 1) {
    await page.keyboard.press('Tab');
    const on = await page.evaluate(() => {
      const e = document.activeElement as HTMLElement;
      const box = e.getBoundingClientRect();
      const style = getComputedStyle(e);
      return { what: `${e.tagName} ${e.textContent?.trim().slice(0, 30) ?? ''} ${e.getAttribute('aria-label') ?? ''}`, body: e === document.body,
        visible: box.width > 0 && box.height > 0 && (style.outlineStyle !== 'none' || style.boxShadow !== 'none') };
    });
    if (on.body) break;
    expect(on, on.what).toMatchObject({ visible: true });
    seen.add(on.what);
  }
  expect(seen.size).toBeGreaterThan(12);
});
