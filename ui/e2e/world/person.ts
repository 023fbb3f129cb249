// Somebody with a password and an authenticator (RFC 6238, SHA-1, 30 s, six digits).
import { createHmac } from 'node:crypto';
import { call, json, type Answer } from './http';
import { until } from './process';

export const PASSWORD = 'correct horse battery staple';
const STEP = 30;

function base32(text: string): Buffer {
  const bits = [...text.replace(/=+$/, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((b) => parseInt(b, 2)));
}

function code(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  const at = mac[mac.length - 1]! & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** All specs come from one address: a try too many in a minute is refused, does not count, and is made again. */
export function counted(ask: () => Promise<Answer>): Promise<Answer> {
  return until('a try that counts', async () => {
    const answer = await ask();
    return answer.status === 429 ? undefined : answer;
  });
}

export class Person {
  private used = 0;
  /** Of a try that may not have counted. */
  private open = 0;
  private constructor(readonly name: string, private secret: Buffer) {}

  /** Who typed this secret into an authenticator. */
  static of(name: string, secret: string): Person {
    return new Person(name, base32(secret.replaceAll(' ', '')));
  }

  /** Accepts an invite as its page would. */
  static async enrol(port: number, name: string, link: string): Promise<Person> {
    const invite = await json<{ otp_uri: string }>(port, 'POST', '/webapi/invite', { secret: link });
    const person = new Person(name, base32(new URL(invite.otp_uri).searchParams.get('secret') ?? ''));
    const answer = await counted(async () => call(port, 'POST', '/webapi/invite/accept', { secret: link, password: PASSWORD, otp: await person.unspent() }));
    person.spend();
    if (answer.status > 299) throw new Error(`${name} cannot accept the invite: ${answer.status} ${answer.text}`);
    return person;
  }

  /** A code that was not used before: each is good once, and the next one is accepted a step early. */
  async code(): Promise<string> {
    const step = await until('an unused code', () => {
      const now = Math.floor(Date.now() / 1000 / STEP);
      return this.used + 1 <= now + 1 ? Math.max(now, this.used + 1) : undefined;
    });
    this.used = step;
    this.open = 0;
    return code(this.secret, step);
  }

  /** The same for a try that may have to be made again: what was not counted is not spent, but does not last for ever. */
  async unspent(): Promise<string> {
    if (this.open >= Math.floor(Date.now() / 1000 / STEP)) return code(this.secret, this.open);
    const made = await this.code();
    this.open = this.used;
    return made;
  }

  /** The last one counted. */
  spend(): void {
    this.open = 0;
  }

  /** Signs in without a page; the cookie's value. */
  async cookie(port: number): Promise<string> {
    const answer = await counted(async () => call(port, 'POST', '/webapi/sessions/web', { user: this.name, password: PASSWORD, otp: await this.unspent() }));
    this.spend();
    const line = [answer.headers['set-cookie']].flat().find((l) => l?.startsWith('__Host-session='));
    if (!line) throw new Error(`${this.name} cannot sign in: ${answer.status} ${answer.text}`);
    return line.slice('__Host-session='.length).split(';')[0]!;
  }
}
