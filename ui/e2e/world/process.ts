// Programs that keep running: their words in a file, ended by id, never by name. Waiting is always for a condition.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

export class Running {
  private ended = false;
  private constructor(private child: ChildProcess, private file: string) {
    child.once('exit', () => (this.ended = true));
  }

  static start(name: string, program: string, args: string[], dir: string, environment: Record<string, string> = {}): Running {
    const file = join(dir, `${name}.log`);
    const out = openSync(file, 'a');
    const child = spawn(program, args, { stdio: ['ignore', out, out], env: bare(dir, environment) });
    closeSync(out);
    return new Running(child, file);
  }

  get id(): number {
    return this.child.pid ?? 0;
  }

  alive(): boolean {
    return !this.ended;
  }

  log(): string {
    return readFileSync(this.file, 'utf8').slice(-8000);
  }

  /** Stops it where it is, with those of its children that run the same program, until what is returned is called. */
  freeze(): () => void {
    const program = readlinkSync(`/proc/${this.id}/exe`);
    const parent = (id: string) => { try { return readlinkSync(`/proc/${id}/exe`) === program ? Number(readFileSync(`/proc/${id}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]) : 0; } catch { return 0; } };
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((name) => ({ id: Number(name), parent: parent(name) }));
    const family = [this.id];
    for (const id of family) family.push(...all.filter((one) => one.parent === id).map((one) => one.id));
    const tell = (signal: 'SIGSTOP' | 'SIGCONT') => { for (const id of family) try { process.kill(id, signal); } catch { /* It ended meanwhile. */ } };
    tell('SIGSTOP');
    return () => tell('SIGCONT');
  }

  /** Asks it to end, and insists after a while. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.ended) return;
    const gone = new Promise<void>((done) => this.child.once('exit', () => done()));
    this.child.kill(signal);
    const insist = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
    await gone;
    clearTimeout(insist);
  }
}

/** An environment with nothing of the caller's own. */
export function bare(home: string, more: Record<string, string> = {}): Record<string, string> {
  return { HOME: home, PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', ...more };
}

/** Runs to the end; anything but success throws with its own words. */
export function run(program: string, args: string[], home: string, input = ''): string {
  const done = spawnSync(program, args, { env: bare(home), encoding: 'utf8', input, timeout: 120_000 });
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${done.status ?? done.signal}\n${done.stdout}${done.stderr}`);
  return done.stdout;
}

const given = new Set<number>();
/**
 * A port nobody listens on, and never the same twice. It lies below those that the system gives to connections that go out
 * (from 32768 on): one of these could take it while it is free, as it is until its gate listens or while that is started anew.
 */
export async function free(): Promise<number> {
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 20_000);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const found = await new Promise<boolean>((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => server.close(() => done(true))));
    if (found) return port;
  }
}

/** Asks until there is an answer that is not undefined. */
export async function until<T>(what: string, probe: () => T | undefined | Promise<T | undefined>, limit = 120_000): Promise<T> {
  const end = Date.now() + limit;
  let last: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found !== undefined) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}${last ? `: ${String(last)}` : ''}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
