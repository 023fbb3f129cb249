// Pages of one Chromium. A page that breaks the content security policy, throws, or writes an error to the console fails
// the test that opened it.
import { existsSync } from 'node:fs';
import { chromium, type Browser, type BrowserContext, type CDPSession, type Page } from 'playwright-core';
import { expect, inject } from 'vitest';
import { person } from './gate';
import { PASSWORD, type Person } from './person';
import { run, until } from './process';
import type { World } from './setup';

export const world: World = inject('world');
const ENGINE = ['/usr/lib/chromium/chromium', '/usr/bin/chromium'].find((path) => existsSync(path)) ?? 'chromium';
// Without a graphics card WebGL is a processor's work: the terminal's other way of drawing is both lighter and tested.
const ARGS = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-3d-apis'];
/** What a signed-out page hears when it asks who is signed in, and who signs in when many others do. */
const USUAL = /status of (401|429)/;

let browser: Browser | null = null;
let contexts: BrowserContext[] = [];
let faults: string[] = [];

export interface Wishes {
  cookie?: string;
  port?: number;
  language?: 'en' | 'zh-CN';
  theme?: string;
  width?: number;
  height?: number;
  /** Words in console errors that this test causes on purpose. */
  expected?: RegExp;
}

async function engine(): Promise<Browser> {
  browser ??= await chromium.launch({ executablePath: ENGINE, args: ARGS });
  return browser;
}

/** A fresh page at `#/place` in a context of its own. */
export async function visit(place: string, wishes: Wishes = {}): Promise<Page> {
  const { cookie, port = world.front, language = 'en', theme = 'light', width = 1280, height = 800, expected } = wishes;
  const context = await (await engine()).newContext({
    ignoreHTTPSErrors: true, locale: language, viewport: { width, height }, reducedMotion: 'reduce', permissions: ['clipboard-read', 'clipboard-write'],
  });
  contexts.push(context);
  context.setDefaultTimeout(120_000);
  if (cookie) {
    await context.addCookies([{ name: '__Host-session', value: cookie, url: `https://127.0.0.1:${port}/`, secure: true, httpOnly: true, sameSite: 'Strict' }]);
  }
  await context.addInitScript(({ language, theme }) => {
    localStorage.setItem('language', localStorage.getItem('language') ?? language);
    localStorage.setItem('theme', localStorage.getItem('theme') ?? theme);
    document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`));
  }, { language, theme });
  const page = await context.newPage();
  page.on('console', (said) => {
    if (said.type() === 'error' && !USUAL.test(said.text()) && !expected?.test(said.text())) faults.push(`${said.text()} (${said.location().url})`);
  });
  page.on('pageerror', (error) => faults.push(error.stack ?? error.message));
  await page.goto(`https://127.0.0.1:${port}/#/${place}`);
  return page;
}

/** What Chromium's own tools can do to this page. */
export function tools(page: Page): Promise<CDPSession> {
  return page.context().newCDPSession(page);
}

/**
 * Sends a form until it is answered, and how: all specs come from one address; a try too many in a minute is refused, does not
 * count, and is made again.
 */
export function answered(page: Page, path: string, send: () => Promise<void>): Promise<number> {
  return until('a try that counts', async () => {
    const [answer] = await Promise.all([page.waitForResponse((r) => r.url().endsWith(path)), send()]);
    return answer.status() === 429 ? undefined : answer.status();
  });
}

/** Fills the form and sends it. */
export async function signIn(page: Page, who: Person, password = PASSWORD): Promise<void> {
  await answered(page, '/webapi/sessions/web', async () => {
    await page.getByLabel('User', { exact: true }).fill(who.name);
    await page.getByLabel('Password').fill(password);
    await page.getByLabel('Code from your authenticator').fill(await who.unspent());
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  });
  who.spend();
}

export function mctl(args: string[]): string {
  return run(world.program, ['mctl', '-c', `${world.dir}/auth.yaml`, ...args], world.dir);
}

let made = 0;
/** Somebody new with a password and an authenticator. No name is the beginning of another. */
export function somebody(roles: string): Promise<Person> {
  made += 1;
  return person(world.port, mctl, `p${made}-${process.pid}`, roles);
}

/** Closes what a test opened; errors of its pages fail it. */
export async function close(): Promise<void> {
  const seen = faults;
  await Promise.all(contexts.map((context) => context.close()));
  contexts = [];
  faults = [];
  expect(seen, 'errors of the pages').toEqual([]);
}

/** Ends Chromium; the next page starts another. */
export async function end(): Promise<void> {
  await browser?.close();
  browser = null;
}
