// One terminal's connection: a ticket, a line, acknowledgements, and coming back to the same shell after a loss.
import { at, json, Refused } from '../lib/transport';
import { plain, socket, type Carrier } from './carrier';
import * as wire from './wire';

/** A shell on a node, with the key to come back to it; or a terminal the gate knows. `back`: it was open before. */
export type Goal = { node: string; login: string; keep: string; back?: boolean; terminal?: string } | { terminal: string };

/** A key that only this tab knows, and the node as a hash. */
export function key(): string {
  return [...crypto.getRandomValues(new Uint8Array(32))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
/** A part of the way: from the page to the gate, or from the gate to the node. */
export type Hop = 'gate' | 'node';
export type Status =
  | { state: 'dialing' }
  | { state: 'again'; hop: Hop }
  | { state: 'open'; carrier: string; line: 'socket' | 'plain'; missing: string; stalled: Hop | null }
  | { state: 'ended'; status?: number; signal?: string }
  | { state: 'refused'; why: string }
  | { state: 'gone' };

export interface Ends {
  /** Draws output; `drawn` is called when it is on the screen. */
  draw(bytes: Uint8Array, drawn: () => void): void;
  /** So many bytes of output are not to be had any more: they belong before what is drawn next. */
  gap(bytes: number): void;
  status(status: Status): void;
  latency(ms: number): void;
  size(): { cols: number; rows: number };
  /** The terminal's id, to come back by. */
  named(id: string): void;
}

const PING_EVERY = 10_000;
/** Who types wants to know sooner whether anybody is there. */
const PING_TYPING = 1_000;
/** A gate that has been asked and says nothing for so long hurts. */
const STALLED = 3_000;
const LOOK_EVERY = 1_000;
/** A gate that was asked and says nothing for so long is not there. */
const SILENCE = 20_000;
/** The same while it dials a node: it hears nothing else meanwhile, and gives up by itself. */
const DIALS = 60_000;
/** A ticket that has not come by then was asked for on a way that is gone. */
const TICKET = 15_000;
/** Input on its way that the node has not taken. */
const MAX_UNTAKEN = 256 * 1024;
/** How often a node that refuses is asked for its shell again; a gate that does not answer is asked for as long as it takes. */
const MAX_RETRIES = 40;
/** How many lines in a row may be lost before a shell that never was there is one. */
const MAX_LOST = 3;
/** WebSockets that never came about, before plain HTTP is tried. */
const ENOUGH = 2;

/** What this page learned about the way to the gate: whether WebSockets pass. */
const way = { passed: false, failed: 0, missing: '' };

export class Connection {
  private line: Carrier | null = null;
  private seen = 0;
  private drawn = 0;
  private retries = 0;
  /** Lines in a row that were lost before they were open. */
  private losses = 0;
  private waiting: Uint8Array[] = [];
  /** Input that is on its way, and where each piece ends: what a line that breaks takes with it goes again by the next. */
  private flying: { end: number; bytes: Uint8Array }[] = [];
  private sent = 0;
  private taken = 0;
  private over = false;
  private opened = false;
  private timer = 0;
  private probe = 0;
  /** When the last ping left, when the first that is not answered did, and whether something has been heard since. */
  private pinged = 0;
  private asked = 0;
  private answered = true;
  /** The gate has begun to dial the node. */
  private dials = false;
  /** Something was typed since. */
  private asks = false;
  private open: Extract<Status, { state: 'open' }> | null = null;
  /** What broke last. */
  private broke: Hop = 'gate';
  private id: string | null = null;
  /** The shell was open: the node may have kept it. */
  private back = false;

  constructor(private goal: Goal, private ends: Ends) {
    this.id = goal.terminal ?? null;
    this.back = 'keep' in goal && Boolean(goal.back);
    void this.connect();
  }

  type(bytes: Uint8Array): void {
    if (this.over) return;
    for (let i = 0; i < bytes.length; i += wire.MAX_INPUT_FRAME) this.waiting.push(bytes.subarray(i, i + wire.MAX_INPUT_FRAME));
    this.push();
    this.asks = true;
  }

  resize(cols: number, rows: number): void {
    if (this.opened) this.send(wire.resize(cols, rows));
  }

  /** Ends the shell. */
  close(): void {
    this.over = true;
    this.send(wire.close());
    this.drop();
  }

  /** Lets go and leaves the shell running for a while. */
  leave(): void {
    this.over = true;
    this.drop();
  }

  private drop(): void {
    clearTimeout(this.timer);
    clearInterval(this.probe);
    const line = this.line;
    this.line = null;
    line?.close();
    this.opened = false;
    this.open = null;
  }

  private ping(): void {
    this.pinged = performance.now();
    if (this.answered) this.asked = this.pinged;
    this.answered = this.asks = false;
    this.send(wire.ping(this.pinged));
  }

  /** Says which part of an open line says nothing, or that all of it does again. */
  private stall(hop: Hop | null): void {
    if (!this.open || this.open.stalled === hop) return;
    this.open = { ...this.open, stalled: hop };
    this.ends.status(this.open);
  }

  private push(): void {
    while (this.opened && this.waiting.length && this.sent - this.taken < MAX_UNTAKEN) {
      const bytes = this.waiting.shift()!;
      this.sent += bytes.length;
      this.flying.push({ end: this.sent, bytes });
      this.send(wire.input(bytes));
    }
  }

  /** The node's channel has had so much since the terminal began. */
  private took(bytes: number): void {
    this.taken = bytes;
    while (this.flying[0] && this.flying[0].end <= bytes) this.flying.shift();
  }

  /** A line is open: what `had` does not count goes again, unless this is another terminal than it was sent to. */
  private resend(same: boolean, had: number): void {
    this.took(had);
    if (same) this.waiting.unshift(...this.flying.map(({ end, bytes }) => bytes.subarray(Math.max(0, bytes.length - (end - had)))));
    this.flying = [];
    this.sent = had;
  }

  private send(frame: ArrayBuffer): void {
    this.line?.send(frame);
  }

  private async connect(): Promise<void> {
    if (this.over) return;
    this.ends.status(this.id || this.back ? { state: 'again', hop: this.broke } : { state: 'dialing' });
    let ticket: string;
    try {
      ticket = (await json<{ ticket: string }>('POST', '/webapi/terminal/tickets', this.wanted(), { limit: TICKET })).ticket;
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(0, 'unreachable', '');
      if (refused.status === 0 || refused.status >= 500) return this.retry('gate');
      if (refused.status === 401) return this.finish({ state: 'gone' });
      if (refused.status === 404 && this.id && 'keep' in this.goal) {
        // The gate was started anew: the node may still have the shell.
        this.id = null;
        this.back = true;
        return this.connect();
      }
      return this.finish(refused.status === 404 && this.id ? { state: 'gone' } : { state: 'refused', why: refused.message });
    }
    if (this.over) return;
    this.pinged = performance.now();
    this.answered = true;
    this.dials = false;
    const first = () => JSON.stringify({ ticket, ...this.ends.size(), seen: this.seen });
    // A ticket came over HTTP and an upgrade never does: something in between eats it.
    const carry = way.passed || way.failed < ENOUGH ? socket : plain;
    let worked = false;
    const lost = () => {
      if (this.line !== line) return;
      this.line = null;
      clearInterval(this.probe);
      this.opened = false;
      this.open = null;
      if (!worked && carry === socket && !way.passed) way.failed += 1;
      this.retry('gate');
    };
    const line: Carrier = carry(first, {
      open: () => {
        worked = true;
        if (carry === socket) way.passed = true;
      },
      frame: (data) => { if (this.line === line) this.hear(data); },
      missing: (what) => (way.missing = what),
      closed: lost,
    });
    this.line = line;
    clearInterval(this.probe);
    this.probe = window.setInterval(() => {
      const now = performance.now();
      // A tab that nobody looks at asks once a minute, and is answered: only silence after a question counts.
      if (!this.answered && now - this.asked > (this.dials ? DIALS : SILENCE)) {
        // A browser that closes a WebSocket waits a minute for the other end to agree: nobody is there who could.
        lost();
        line.close();
      } else if (now - this.pinged > (this.asks && this.answered ? PING_TYPING : PING_EVERY)) this.ping();
      else if (!this.answered && now - this.asked > STALLED) this.stall('gate');
    }, LOOK_EVERY);
  }

  private wanted(): object {
    if (this.id) return { terminal: this.id };
    if (!('keep' in this.goal)) return this.goal;
    const { node, login, keep } = this.goal;
    return { node, login, keep, resume: this.back };
  }

  private retry(hop: Hop): void {
    if (this.over) return;
    this.broke = hop;
    this.ends.status(this.id || this.back ? { state: 'again', hop } : { state: 'dialing' });
    const pause = Math.min(10_000, 250 * 2 ** this.retries) * (0.75 + Math.random() / 2);
    this.retries += 1;
    this.timer = window.setTimeout(() => void this.connect(), pause);
  }

  /** Comes back to the shell by its key. */
  private again(): void {
    this.id = null;
    this.back = true;
    this.drop();
    this.retry('node');
  }

  /** The way to the node broke, or the line did: not the shell. */
  private lost(why: string): void {
    const known = this.id !== null || this.back;
    if (!this.opened) this.losses += 1;
    if (this.losses >= (known ? MAX_RETRIES : MAX_LOST)) return this.finish({ state: 'refused', why });
    if (known && 'keep' in this.goal) return this.again();
    // The gate ended it with the way.
    if (this.opened) return this.finish({ state: 'refused', why });
    // There is no key to come back by, or no shell yet to come back to: the same is asked for once more.
    this.drop();
    this.retry('gate');
  }

  private finish(status: Status): void {
    this.over = true;
    this.drop();
    this.ends.status(status);
  }

  private hear(data: ArrayBuffer): void {
    this.answered = true;
    if (this.open?.stalled === 'gate') this.stall(null);
    const message = wire.decode(data);
    switch (message?.kind) {
      case 'output': return this.output(message.offset, message.bytes);
      case 'taken':
        this.took(message.bytes);
        return this.push();
      case 'pong': return this.ends.latency(performance.now() - message.stamp);
      case 'news': return this.news(message.news);
    }
  }

  private output(offset: number, bytes: Uint8Array): void {
    const fresh = bytes.subarray(Math.max(0, this.seen - offset));
    const end = offset + bytes.length;
    if (!fresh.length) return;
    if (offset > this.seen) this.ends.gap(offset - this.seen);
    this.seen = end;
    this.ends.draw(fresh, () => {
      this.drawn = Math.max(this.drawn, end);
      this.send(wire.ack(this.drawn));
    });
  }

  private news(news: wire.News): void {
    switch (news.state) {
      case 'open':
        this.opened = true;
        this.dials = false;
        this.retries = this.losses = 0;
        this.resend(news.terminal === this.id, news.had ?? 0);
        if (news.terminal) {
          this.id = news.terminal;
          this.ends.named(news.terminal);
        }
        this.open = { state: 'open', carrier: news.carrier ?? '', line: this.line?.kind ?? 'socket', missing: way.missing, stalled: null };
        this.ends.status(this.open);
        this.ping();
        return this.push();
      case 'stalled': return this.stall('node');
      case 'flowing': return this.stall(null);
      case 'ended': return this.finish({ state: 'ended', status: news.status, signal: news.signal });
      case 'gone': return this.finish({ state: 'gone' });
      case 'lost': return this.lost(news.why ?? '');
      case 'refused':
        // The node has not come back to the gate yet, perhaps.
        if (this.back && !this.id && this.retries < MAX_RETRIES) return this.again();
        return this.finish({ state: 'refused', why: news.why ?? '' });
      case 'dialing':
        this.dials = true;
        return;
      case 'line': return;
    }
  }
}
