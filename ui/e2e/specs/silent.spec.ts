import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { visit, world } from '../world/browser';
import { call } from '../world/http';
import { PLACES, SOME } from '../world/places';
import { open, shows, type } from '../world/terminal';

const TELLS = /record|replay|audit|录像|录制|审计|回放/i;
const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
interface Described { paths: Record<string, Record<string, unknown>> }

async function vendor(): Promise<Record<string, string>> {
  const cookie = `__Host-session=${world.vendor}`;
  const told = await call(world.port, 'GET', '/webapi/session', undefined, { cookie });
  expect(told.status).toBe(200);
  expect(told.text).not.toMatch(TELLS);
  return { cookie, 'x-csrf-token': (JSON.parse(told.text) as { csrf: string }).csrf };
}

test('no page, and nothing a page loads, tells a vendor that there is a camera', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  const heard: string[] = [];
  page.on('response', (answer) => {
    if (/\.(js|css|html)$|\/$/.test(new URL(answer.url()).pathname)) void answer.text().then((text) => heard.push(text), () => {});
  });
  await page.reload();

  for (const place of PLACES) {
    await page.evaluate((place) => (location.hash = `#/${place}`), place);
    await page.locator(':is(main h1, main strong):visible').first().waitFor();
    expect(await page.locator('html').innerHTML(), place).not.toMatch(TELLS);
    if (SOME.includes(place)) await page.getByText('There is nothing here.').waitFor();
  }
  expect(heard.length).toBeGreaterThan(0);
  for (const text of heard) expect(TELLS.exec(text)?.[0]).toBeUndefined();
});

test('every address that is not for a vendor answers like one that does not exist', async () => {
  const headers = await vendor();
  const unknown = await call(world.port, 'GET', '/v1/no-such-thing', undefined, headers);
  expect(unknown.status).toBe(404);
  const described = JSON.parse(readFileSync(at('../../../docs/reference/openapi.json'), 'utf8')) as Described;

  for (const [path, verbs] of Object.entries(described.paths)) {
    for (const verb of Object.keys(verbs)) {
      const asked = path.replace(/\{n\}/g, '0').replace(/\{\w+\}/g, '00000000-0000-4000-8000-000000000000');
      const answer = await call(world.port, verb.toUpperCase(), asked, verb === 'get' ? undefined : {}, headers);
      if (/recordings|events|live|sessions\/|audit/.test(path) && !path.startsWith('/webapi')) {
        expect([answer.status, answer.text], `${verb} ${path}`).toEqual([404, unknown.text]);
      } else {
        expect(answer.text, `${verb} ${path}`).not.toMatch(TELLS);
      }
    }
  }
});

test('the parts of the app that a vendor does not load are not there for him', async () => {
  const headers = await vendor();
  const unknown = await call(world.port, 'GET', '/more/no-such-file.js', undefined, headers);
  const files = ['more', 'told'].flatMap((part) => readdirSync(at(`../../dist/app/${part}`)).map((file) => `${part}/${file}`));
  expect(files.length).toBeGreaterThan(3);

  for (const file of files) {
    const answer = await call(world.port, 'GET', `/${file}`, undefined, headers);
    expect([answer.status, answer.text], file).toEqual([404, unknown.text]);
  }
});

test('nothing in the shell tells either: greeting, environment, processes', async () => {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);

  await type(page, "clear; (env; ps -o args= -p $$,$PPID; ls -l /proc/$$/fd) | grep -icE 'rec[o]rd|re[p]lay|au[d]it'");

  await shows(page, /^0$/m);
});
