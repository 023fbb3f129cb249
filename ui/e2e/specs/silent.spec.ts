import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { mctl, visit, world } from '../world/browser';
import { call, type Answer } from '../world/http';
import { PLACES, SOME } from '../world/places';
import { until } from '../world/process';
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
  for (const key of ['Control+k', 'Escape']) await page.keyboard.press(key);
  expect(await page.locator('html').innerHTML()).not.toMatch(TELLS);
  expect(heard.length).toBeGreaterThan(0);
  for (const text of heard) expect(TELLS.exec(text)?.[0]).toBeUndefined();
});

/** Verbs that a vendor's own app needs; everything else the gate describes is not there for him. */
const HIS = ['GET /v1/me', 'GET /v1/me/devices', 'GET /v1/nodes', 'POST /v1/me/passkeys', 'POST /v1/me/passkeys/begin', 'PUT /v1/me/passkeys/{id}', 'POST /v1/me/passkeys/{id}/remove'];

/** All of an answer but when it was given. */
function whole(answer: Answer): unknown {
  const { date: _, ...headers } = answer.headers;
  return { status: answer.status, headers, text: answer.text };
}

/** A session of the vendor's own that is recorded, and whole. */
async function recorded(): Promise<{ id: string; node: string }> {
  const page = await visit('nodes', { cookie: world.vendor });
  await open(page);
  await type(page, 'echo seen; exit');
  await page.getByText('The session has ended').first().waitFor();
  return until('the recording', () => {
    const all = JSON.parse(mctl(['recordings', 'ls', '--format=json'])) as { id: string; node: string; user: string; state: string }[];
    return all.find((one) => one.user === 'vic' && one.state === 'complete');
  });
}

test('every verb answers a vendor like an address that does not exist, with real ids and with none', async () => {
  const headers = await vendor();
  const { id, node } = await recorded();
  const described = JSON.parse(readFileSync(at('../../../docs/reference/openapi.json'), 'utf8')) as Described;
  const ids = [id, node, '00000000-0000-4000-8000-000000000000'];
  const seen: string[] = [];

  for (const [path, verbs] of Object.entries(described.paths)) {
    for (const verb of Object.keys(verbs)) {
      const [method, ask] = [verb.toUpperCase(), verb === 'get' ? undefined : {}];
      const unknown = whole(await call(world.port, method, '/v1/no-such-thing', ask, headers));
      for (const id of /\{id\}/.test(path) ? ids : [ids[0]!]) {
        const filled = path.replace(/\{n\}/g, '0').replace(/\{name\}/g, 'vendor').replace(/\{\w+\}/g, id);
        for (const asked of verb === 'get' ? [filled, `${filled}?limit=1&from=0&version=3&text=seen`] : [filled]) {
          const answer = await call(world.port, method, asked, ask, headers);
          if (HIS.includes(`${method} ${path}`)) {
            seen.push(`${method} ${path}`);
            expect([answer.text, JSON.stringify(answer.headers)].join(), `${method} ${asked}`).not.toMatch(TELLS);
          } else expect(whole(answer), `${method} ${asked}`).toEqual(unknown);
        }
      }
    }
  }
  expect([...new Set(seen)].sort()).toEqual([...HIS].sort());
});

test('nothing that the gate tells strangers and vendors beside its verbs has a word of it', async () => {
  const headers = await vendor();
  for (const who of [headers, {}]) {
    for (const path of ['/', '/webapi/ping', '/webapi/find', '/webapi/trust', '/webapi/session', '/webapi/sessions', '/webapi/terminals', '/webapi/terminal', '/webapi/files/downloads', '/web/invite/abc', '/web/reset/abc', '/web/assets/page.css', '/moon.svg', '/nothing']) {
      const answer = await call(world.port, 'GET', path, undefined, who);
      expect([answer.text, JSON.stringify(answer.headers)].join(), path).not.toMatch(TELLS);
    }
  }
  // Addresses that only some have are for him what no address is.
  for (const [method, path] of [['POST', '/webapi/session/agree'], ['GET', '/more/more.js'], ['GET', '/told/told.js']] as const) {
    const unknown = await call(world.port, method, '/webapi/nothing', method === 'POST' ? {} : undefined, headers);
    expect(whole(await call(world.port, method, path, method === 'POST' ? {} : undefined, headers)), path).toEqual(whole(unknown));
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

  await type(page, "clear; (env; ps -Lo comm= -C moongate; ps -o args= -p $$,$PPID; ls -l /proc/$$/fd) | grep -icE 'rec[o]rd|re[p]lay|au[d]it'");

  await shows(page, /^0$/m);
});
