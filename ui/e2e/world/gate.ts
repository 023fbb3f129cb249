// A running gate in a directory of its own: the executable, its configuration file and its commands, nothing else.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call } from './http';
import { Person } from './person';
import { free, run, Running, until } from './process';

export const TOKEN = 'browser-token-5f2d9c0b7a1e4d38';
export const CLUSTER = 'main';
/** Browsers that specs share are left alone for longer than a day at work has breaks: a suite takes long on a slow machine. */
const ALONE = '  web_lock_timeout: never\n  web_idle_timeout: never\n';

export function executable(): string {
  const path = process.env['MOONGATE_BIN'];
  if (!path) throw new Error('MOONGATE_BIN is not set: run `cargo xtask e2e browser`');
  return path;
}

export class Gate {
  readonly dir = mkdtempSync(join(tmpdir(), 'moongate-browser-'));
  readonly running = new Map<string, Running>();
  private constructor(readonly port: number, private authPort: number, private wishes = ALONE) {}

  /** Authority, proxy and the node `gpu-1` in one process; `wishes` are lines of `auth_service`. */
  static async start(wishes = ALONE): Promise<Gate> {
    const gate = new Gate(await free(), await free(), wishes);
    gate.launch('auth', gate.instance('auth', 'gpu-1', '') + gate.authority() + gate.proxy() + node({ env: 'prod', gpu: 'h800' }));
    await gate.answers();
    await gate.online('gpu-1');
    return gate;
  }

  /** Authority, proxy and the node as three processes. */
  static async startApart(): Promise<Gate> {
    const gate = new Gate(await free(), await free());
    gate.launch('auth', `${gate.instance('auth', 'auth-1', '')}${gate.authority()}proxy_service:\n  enabled: no\nssh_service:\n  enabled: no\n`);
    await until('the authority', () => (gate.mctl(['status', '--format=json']) ? true : undefined));
    await gate.startProxy();
    await gate.join('gpu-1', gate.port, { env: 'prod' });
    return gate;
  }

  async startProxy(): Promise<void> {
    const join = `  auth_token: ${TOKEN}\n  ca_pin: "${this.pin()}"\n  auth_servers: ["127.0.0.1:${this.authPort}"]\n`;
    this.launch('proxy', `${this.instance('proxy', 'proxy-1', join)}auth_service:\n  enabled: no\n${this.proxy()}ssh_service:\n  enabled: no\n`);
    await this.answers();
  }

  /** A node in a process of its own that dials `via`. */
  async join(name: string, via: number, labels: Record<string, string>): Promise<void> {
    const join = `  auth_token: ${TOKEN}\n  ca_pin: "${this.pin()}"\n  proxy_server: "127.0.0.1:${via}"\n`;
    const text = `${this.instance(name, name, join)}auth_service:\n  enabled: no\nproxy_service:\n  enabled: no\n${node(labels)}`;
    this.launch(name, text.replace('version: v2', 'version: v3'));
    await this.online(name);
  }

  async online(name: string): Promise<void> {
    await until(`${name} to be online`, () => {
      const all = JSON.parse(this.mctl(['nodes', 'ls', '--format=json'])) as { name?: string; liveness?: string; node?: { name: string } }[];
      return all.some((n) => (n.name ?? n.node?.name) === name && n.liveness === 'online') || undefined;
    });
  }

  async answers(): Promise<void> {
    await until('the gate to answer', async () => (await call(this.port, 'GET', '/webapi/ping')).status === 200 || undefined);
  }

  mctl(args: string[]): string {
    return run(executable(), ['mctl', '-c', join(this.dir, 'auth.yaml'), ...args], this.dir);
  }

  pin(): string {
    return (JSON.parse(this.mctl(['status', '--format=json'])) as { cluster: { ca_pins: string[] } }).cluster.ca_pins[0]!;
  }

  person(name: string, roles: string): Promise<Person> {
    return person(this.port, (args) => this.mctl(args), name, roles);
  }

  log(): string {
    return [...this.running].map(([name, r]) => `--- ${name}\n${r.log()}`).join('\n');
  }

  async stop(): Promise<void> {
    for (const one of [...this.running.values()].reverse()) await one.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  private launch(name: string, text: string): void {
    const file = join(this.dir, `${name}.yaml`);
    writeFileSync(file, text);
    this.running.set(name, Running.start(name, executable(), ['start', '-c', file], this.dir));
  }

  private instance(name: string, nodename: string, join_: string): string {
    return `version: v2\nmoongate:\n  nodename: ${nodename}\n  data_dir: ${join(this.dir, name)}\n  log:\n    output: stderr\n    severity: INFO\n${join_}`;
  }

  private authority(): string {
    return `auth_service:\n  enabled: yes\n  cluster_name: ${CLUSTER}\n  listen_addr: 127.0.0.1:${this.authPort}\n  tokens:\n    - "node,proxy:${TOKEN}"\n${this.wishes}`;
  }

  private proxy(): string {
    return `proxy_service:\n  enabled: yes\n  web_listen_addr: 127.0.0.1:${this.port}\n  public_addr: ["127.0.0.1:${this.port}", "localhost:${this.port}"]\n`;
  }
}

function node(labels: Record<string, string>): string {
  const lines = Object.entries(labels).map(([k, v]) => `    ${k}: ${v}\n`);
  return `ssh_service:\n  enabled: yes\n  labels:\n${lines.join('')}`;
}

/** Makes a user who has accepted the invite. */
export async function person(port: number, mctl: (args: string[]) => string, name: string, roles: string): Promise<Person> {
  const made = JSON.parse(mctl(['users', 'add', name, `--roles=${roles}`, '--logins=root', '--format=json'])) as { secret: string };
  return Person.enrol(port, name, made.secret);
}
