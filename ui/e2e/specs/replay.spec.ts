// What a recording shows besides its output: changes of size, moments on the timeline, Chinese; and what leaves as asciicast.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as AsciinemaPlayer from 'asciinema-player';
import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import type { GetTimelineAnswer } from '../../src/api/recordings';
import { visit, world } from '../world/browser';
import { json } from '../world/http';
import { until } from '../world/process';
import { open, shows, text, type } from '../world/terminal';

const headers = { cookie: `__Host-session=${world.admin}` };
const timeline = () => json<GetTimelineAnswer>(world.port, 'GET', `/v1/recordings/${id}/timeline`, undefined, headers);
/** Rows of equal width: a Chinese character or mark is two columns wide. */
const WIDE = ['|甲乙丙|', '|中文Ab|', '|，全角|', '|abcdef|'];
let id = '';

/** Plays it, stopped at its end. */
async function ended(language: 'en' | 'zh-CN' = 'en'): Promise<Page> {
  const page = await visit(`recordings/${id}?t=100000`, { cookie: world.admin, language });
  await shows(page, /^last-49$/m);
  return page;
}

beforeAll(async () => {
  const works = await visit('nodes', { cookie: world.vendor });
  await open(works);
  const packed = Buffer.from(`${WIDE.join('\n')}\n`).toString('base64');
  await type(works, `clear; echo ${packed} | base64 -d`);
  await shows(works, /^\|abcdef\|$/m);
  // Nothing is wiped: what went at the moment it is noted for is not on the screen of that moment.
  let asked = 0;
  const columns = async (wanted: (now: number) => boolean) => until('another size', async () => {
    asked += 1;
    await type(works, `echo wide-${asked}-$(tput cols)-`);
    const said = new RegExp(`^wide-${asked}-(\\d+)-$`, 'm');
    const now = Number(said.exec(await shows(works, said))![1]);
    await shows(works, /[#$]$/);
    return wanted(now) ? now : undefined;
  });
  const before = await columns(() => true);
  await works.setViewportSize({ width: 900, height: 600 });
  await columns((now) => now < before);
  await type(works, 'echo last-$((7*7))');
  await shows(works, /^last-49$/m);
  id = await until('the session', async () => {
    const { items } = await json<{ items: { id: string; user: string; started: string }[] }>(world.port, 'GET', '/v1/live', undefined, headers);
    return items.filter((one) => one.user === 'vic').sort((a, b) => (a.started < b.started ? 1 : -1))[0]?.id;
  });
  await type(works, 'exit');
  await works.getByText('The session has ended').waitFor();
  await until('the recording to be looked through', async () => {
    const { info, spans } = await timeline();
    return (info.state === 'complete' && spans.length === info.segments) || undefined;
  });
});

test('a change of size is marked on the timeline, and pointing there says what it was', async () => {
  const { marks } = await timeline();
  const resize = marks.findLast((mark) => mark.kind === 'resize')!;
  expect(resize.label).toMatch(/^\d+×\d+$/);
  const page = await ended();
  const length = Number(await page.locator('.time input').getAttribute('max'));
  const x = ((resize.at / length) * 1000).toFixed(1);
  expect(await page.locator('.time path.other').getAttribute('d')).toContain(`M${x} 0`);

  const box = (await page.locator('.time').boundingBox())!;
  const point = (at: number) => page.mouse.move(box.x + (at / length) * box.width, box.y + box.height / 2);
  await point(resize.at);
  await page.locator('.over').getByText(`Size ${resize.label}`).waitFor();
  const command = marks.find((mark) => mark.kind === 'command' && mark.label === 'echo last-$((7*7))')!;
  await point(command.at);
  await page.locator('.over').getByText(command.label, { exact: true }).waitFor();
  await page.mouse.move(box.x + box.width / 2, box.y - 200);
  await page.locator('.over').waitFor({ state: 'detached' });

  // The moment itself: from the beginning, or by the clock.
  await page.mouse.move(box.x + 1, box.y + box.height / 2);
  expect(await page.locator('.over strong').innerText()).toBe('0:00');
  await page.keyboard.press('a');
  await page.mouse.move(box.x + 2, box.y + box.height / 2);
  await page.locator('.over strong').getByText(/\d{4}.*\d{2}:\d{2}/).waitFor();
});

test('the player draws the size that the session had at each moment', async () => {
  const { marks } = await timeline();
  const [cols, rows] = marks.findLast((mark) => mark.kind === 'resize')!.label.split('×').map(Number);
  const page = await ended();
  const size = () => page.evaluate(() => document.querySelectorAll('.xterm-rows > div').length);

  expect(await size()).toBe(rows);
  expect(await text(page)).toMatch(new RegExp(`^wide-\\d+-${cols}-$`, 'm'));
  await page.keyboard.press('Home');
  await until('the first size', async () => ((await size()) !== rows ? true : undefined));
});

for (const language of ['en', 'zh-CN'] as const) {
  test(`Chinese is two columns wide in the player, and whole in the transcript and in what is found (${language})`, async () => {
    const page = await ended(language);
    await page.keyboard.press('Home');
    await page.keyboard.press('/');
    await page.locator('input[type=search]').fill('甲乙');
    await page.getByText(/^1 (find|处)$/).waitFor();
    const row = page.locator('.transcript .line');
    expect(await row.locator('mark').allInnerTexts()).toEqual(['甲乙']);
    expect(await row.locator('span').last().innerText()).toBe(WIDE[0]);
    await page.locator('input[type=search]').fill('');
    for (const wide of WIDE) await row.getByText(wide, { exact: true }).first().waitFor();

    // A press on a row of the transcript shows its moment.
    await row.getByText('|abcdef|', { exact: true }).first().click();
    await shows(page, /^\|abcdef\|$/m);
    const drawn = await text(page);
    for (const wide of WIDE) expect(drawn.split('\n')).toContain(wide);
    const ends = await page.evaluate((wide) => [...document.querySelectorAll('.xterm-rows > div')]
      .filter((row) => wide.includes((row.textContent ?? '').replaceAll('\u00a0', ' ').trimEnd()))
      .map((row) => {
        const walk = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
        let last = 0;
        for (let node = walk.nextNode(); node; node = walk.nextNode()) {
          const at = node.textContent!.lastIndexOf('|');
          if (at < 0) continue;
          const range = document.createRange();
          range.setStart(node, at);
          range.setEnd(node, at + 1);
          last = range.getBoundingClientRect().right;
        }
        return Math.round(last);
      }), WIDE);
    expect(ends.length).toBe(WIDE.length);
    expect(Math.max(...ends) - Math.min(...ends), `the last columns end at ${ends.join(', ')}`).toBeLessThanOrEqual(1);
  });
}

/** Saves it as a file of this name in the menu. */
async function saved(page: Page, name: string) {
  await page.getByText('Save as', { exact: true }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name }).click()]);
  await page.getByText('Save as', { exact: true }).click();
  const data = readFileSync(await download.path(), 'utf8');
  const lines = data.trimEnd().split('\n').map((line) => JSON.parse(line) as unknown);
  return { file: download.suggestedFilename(), data, head: lines[0] as Record<string, unknown>, events: lines.slice(1) as [number, string, string][] };
}

test('a transcript stays as it is while the player goes on', async () => {
  const page = await visit('recordings', { cookie: world.admin });
  // As if its end were in a segment of its own.
  await page.route('**/timeline*', async (route) => {
    const response = await route.fetch();
    const told = (await response.json()) as GetTimelineAnswer;
    const end = told.spans.at(-1)?.until ?? 0;
    await route.fulfill({ response, json: { ...told, spans: [...told.spans, { from: end, until: end, bytes: 0 }] } });
  });
  await page.evaluate((hash) => { location.hash = hash; }, `#/recordings/${id}?t=0`);
  const asked: string[] = [];
  page.on('request', (request) => { if (request.url().includes('/transcript')) asked.push(request.url()); });
  await page.getByRole('tab', { name: 'Transcript' }).click();
  await page.locator('.transcript .line').filter({ hasText: 'last-49' }).first().waitFor();
  const before = asked.length;

  await page.keyboard.press('End');

  const left = async () => Number(await page.locator('.time input').getAttribute('max')) - Number(await page.locator('.time input').inputValue());
  await expect.poll(left).toBeLessThan(1000);
  await page.locator('.transcript .line').first().waitFor();
  expect(asked.length).toBe(before);
});

test('a recording leaves as asciicast of both kinds, whole and with the right times', async () => {
  const { info, marks } = await timeline();
  const page = await ended();
  const length = Number(await page.locator('.time input').getAttribute('max')) / 1e6;
  const two = await saved(page, 'asciicast v2');
  const three = await saved(page, 'asciicast v3');

  expect([two.file, three.file]).toEqual([`${id}.v2.cast`, `${id}.cast`]);
  const began = Math.floor(Date.parse(info.started) / 1000);
  expect(two.head).toMatchObject({ version: 2, timestamp: began, title: `root@${info.node_name}` });
  const { cols, rows } = (three.head as { term: { cols: number; rows: number } }).term;
  expect(three.head).toMatchObject({ version: 3, timestamp: began });
  expect([two.head['width'], two.head['height']]).toEqual([cols, rows]);
  expect(cols).toBeGreaterThan(80);

  const shown = (events: [number, string, string][]) => events.filter(([, code]) => code === 'o').map(([, , text]) => text).join('');
  expect(shown(two.events)).toBe(shown(three.events));
  for (const wide of WIDE) expect(shown(two.events)).toContain(wide);
  const resize = marks.findLast((mark) => mark.kind === 'resize')!;
  const resized = two.events.findLast(([, code]) => code === 'r')!;
  expect(resized[2]).toBe(resize.label.replace('×', 'x'));
  expect(resized[0]).toBeCloseTo(resize.at / 1e6, 3);

  // One counts from the beginning, the other from line to line; neither says what was typed unless it was shown.
  expect(two.events[0]![0]).toBeCloseTo(three.events[0]![0], 3);
  const last = two.events.at(-1)!;
  expect(last[1]).toBe('o');
  expect(last[0]).toBeLessThanOrEqual(length + 0.001);
  expect(three.events.filter(([, code]) => code !== 'x').reduce((sum, [gap]) => sum + gap, 0)).toBeCloseTo(last[0], 2);
  expect(three.events.at(-1)!.slice(1)).toEqual(['x', '0']);
  expect(two.events.some(([, code]) => code === 'i')).toBe(false);
});

test.each(['asciicast v2', 'asciicast v3'])('the player of asciinema shows what left as %s', async (name) => {
  const { marks } = await timeline();
  const page = await ended();
  const length = Number(await page.locator('.time input').getAttribute('max')) / 1e6;
  const { data } = await saved(page, name);
  const [cols, rows] = marks.findLast((mark) => mark.kind === 'resize')!.label.split('×').map(Number);
  const apart = await page.context().newPage();
  await apart.addScriptTag({ path: createRequire(import.meta.url).resolve('asciinema-player/dist/bundle/asciinema-player.min.js') });

  const played = await apart.evaluate(async (data) => {
    const { create } = (window as unknown as { AsciinemaPlayer: typeof AsciinemaPlayer }).AsciinemaPlayer;
    const player = create({ data }, document.body, { preload: true, controls: false });
    await player.seek('100%');
    return player.getDuration();
  }, data);

  expect(played).toBeCloseTo(length, 0);
  const shown = async () => (await apart.locator('.ap-line').allTextContents()).join('\n');
  const all = await until('its last line', async () => (/^last-49 *$/m.test(await shown()) ? shown() : undefined));
  const drawn = all.split('\n').map((row) => row.trimEnd());
  for (const wide of WIDE) expect(drawn).toContain(wide);
  expect(drawn.some((row) => new RegExp(`^wide-\\d+-${cols}-$`).test(row)), all).toBe(true);
  expect(drawn.length).toBe(rows);
});
