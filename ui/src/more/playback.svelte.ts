// Plays a reel on a terminal: where one is, how fast, and what comes next.
import { getTimeline, type GetTimelineAnswer } from '../api/recordings';
import type { Screen } from '../terminal/screen';
import { drawable, shown, size } from './decode';
import { frame, weight, type Frames } from './frames';
import { Reel } from './reel';

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
export const SECOND = 1_000_000;
/** Gaps longer than this are skipped when idle time is. */
const CAP = SECOND;
/** Who follows a session and falls back so far, as in a tab nobody looked at, is put at its present again. */
const LAG = 15 * SECOND;
/** What is drawn rather than asking for a picture to draw from, in bytes: as much as lies between two of them. */
const NEAR = 128 * 1024;
/** What is written to the terminal at a time, in bytes. */
const PIECE = 256 * 1024;

export class Playback {
  timeline = $state.raw<GetTimelineAnswer | null>(null);
  length = $state(0);
  position = $state(0);
  playing = $state(false);
  speed = $state(1);
  skipIdle = $state(true);
  /** The segment that is waited for, from 1; 0 when none is. */
  fetching = $state(0);
  error = $state.raw<unknown>(null);
  /** The screen is what it was at some moment of the recording: not while the first one is on its way. */
  drawn = $state(false);
  reel: Reel;
  onresize: () => void = () => {};

  private segment = 0;
  private index = 0;
  private fresh = true;
  // One hand moves the reel at a time: whoever comes later raises `turn`, and the one before lets go and is waited for.
  private turn = 0;
  private hand: Promise<void> = Promise.resolve();
  private busy = false;
  private alive = true;
  /** The end was reached while it was still growing, and nobody has gone elsewhere since. */
  private following = false;
  private aim: number | undefined;

  constructor(readonly id: string, private screen: Screen) {
    this.reel = new Reel(id, 0);
    let before = performance.now();
    const tick = (now: number) => {
      if (!this.alive) return;
      const passed = Math.min(200, now - before) * 1000 * this.speed;
      before = now;
      if (this.playing && !this.busy) void this.advance(passed);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  close(): void {
    this.alive = false;
    this.reel.close();
  }

  /** Opens at a moment in seconds, or at the beginning; a session that goes on at its present. */
  async open(from: number | null): Promise<void> {
    try {
      await this.learn();
      const live = this.timeline?.info.state === 'live';
      await this.seek(from === null ? (live ? this.length : 0) : from * SECOND);
      this.playing = from === null;
      void this.grow();
    } catch (what) {
      this.error = what;
    }
  }

  /** Asks where things happened; of what is known already only what came since. */
  private async learn(): Promise<void> {
    const before = this.timeline;
    const known = this.reel.spans.length;
    let found = await getTimeline({ id: this.id, from: known });
    if (before && found.bucket === before.bucket) {
      found = {
        ...found,
        spans: [...before.spans, ...found.spans],
        marks: [...before.marks, ...found.marks],
        activity: Array.from({ length: Math.max(before.activity.length, found.activity.length) },
          (_, i) => (before.activity[i] ?? 0) + (found.activity[i] ?? 0)),
      };
    } else if (known) {
      found = await getTimeline({ id: this.id });
    }
    this.timeline = found;
    this.reel.spans = found.spans;
    this.reel.count = found.info.segments;
    this.length = Math.max(this.length, await this.reel.length());
  }

  private growing(): boolean {
    return this.timeline?.info.state === 'live' || this.reel.spans.length < this.reel.count;
  }

  /** A session that goes on: while it is followed its node seals every second, and the recording grows by whole segments,
   * so following it misses and doubles nothing. Playing waits at the end for more. */
  private async grow(): Promise<void> {
    while (this.alive && this.growing()) {
      await new Promise((done) => setTimeout(done, 1000));
      if (!this.alive) return;
      const end = this.length;
      await this.learn().catch(() => {});
      const late = this.playing && this.following && this.length - this.position > LAG;
      if ((end === 0 && this.length > 0) || late) await this.seek(this.length);
    }
  }

  private write(bytes: Uint8Array | string): Promise<void> {
    return new Promise((done) => this.screen.terminal.write(bytes, done));
  }

  private resize(to: { cols: number; rows: number }): void {
    const { cols, rows } = drawable(to);
    this.screen.terminal.resize(cols, rows);
    requestAnimationFrame(() => this.onresize());
  }

  /** Waits for a segment, and says so when it takes long. */
  private async part(n: number): Promise<Frames | null> {
    if (n >= this.reel.count) return null;
    const slow = setTimeout(() => (this.fetching = n + 1), 150);
    try {
      return await this.reel.segment(n);
    } finally {
      clearTimeout(slow);
      this.fetching = 0;
    }
  }

  /** Draws everything up to `until`; waits for segments that are not here yet. */
  private async run(until: number, ticket: number): Promise<void> {
    while (this.alive && ticket === this.turn) {
      const part = await this.part(this.segment);
      if (!part || ticket !== this.turn) return;
      if (this.segment + 1 < this.reel.count) void this.reel.segment(this.segment + 1).catch(() => {});
      if (!(await this.draw(part, until, ticket))) return;
      if (this.segment + 1 >= this.reel.count) return;
      this.segment += 1;
      this.index = 0;
    }
  }

  /** Draws what a segment has up to `until`; true when nothing of it is left. */
  private async draw(part: Frames, until: number, ticket: number): Promise<boolean> {
    let pieces: Uint8Array[] = [];
    let bytes = 0;
    const flush = async () => {
      const all = pieces;
      pieces = [];
      bytes = 0;
      for (const [i, piece] of all.entries()) {
        if (i === all.length - 1) await this.write(piece);
        else this.screen.terminal.write(piece);
      }
    };
    for (;;) {
      const next = frame(part, this.index);
      if (!next || next.at > until) break;
      this.index += 1;
      const text = shown(next);
      if (text) {
        pieces.push(text);
        bytes += text.length;
      }
      const now = text ? null : size(next);
      if (now || bytes >= PIECE) await flush();
      if (now) {
        // A picture may still be on its way to the screen.
        await this.write('');
        this.resize(now);
      }
      if (ticket !== this.turn) break;
    }
    await flush();
    return this.index >= part.at.length;
  }

  private async advance(passed: number): Promise<void> {
    this.busy = true;
    const ticket = this.turn;
    const work = async (): Promise<void> => {
      let until = Math.min(this.length, this.position + passed);
      const next = this.skipIdle ? await this.upcoming() : undefined;
      if (ticket !== this.turn) return;
      if (next !== undefined && next > this.position + CAP && next > until) until = next - CAP / 4;
      this.position = until;
      await this.run(until, ticket);
      if (ticket !== this.turn || this.position < this.length) return;
      this.following = this.growing();
      this.playing = this.following;
    };
    this.hand = work().catch((what) => { this.error = what; this.playing = false; });
    await this.hand;
    if (ticket === this.turn) this.busy = false;
  }

  /** When the next frame is. */
  private async upcoming(): Promise<number | undefined> {
    const part = await this.part(this.segment).catch(() => null);
    const here = part?.at[this.index];
    if (here !== undefined) return here;
    return this.segment + 1 < this.reel.count ? this.reel.spans[this.segment + 1]?.from : undefined;
  }

  /** Where one is, or where a seek under way leads: keys pressed fast go on from there. */
  get goal(): number {
    return this.aim ?? this.position;
  }

  async seek(to: number): Promise<void> {
    const ticket = ++this.turn;
    this.busy = true;
    this.aim = Math.max(0, Math.min(this.length, to));
    const before = this.hand;
    const work = async (): Promise<void> => {
      await before;
      if (ticket !== this.turn) return;
      const target = Math.max(0, Math.min(this.length, to));
      this.following = target >= this.length && this.growing();
      const n = Math.min(this.reel.find(target), Math.max(0, this.reel.count - 1));
      const near = target >= this.position && (await this.isNear(n, target));
      this.position = target;
      if (!near) await this.jump(n, target, ticket);
      if (ticket === this.turn) await this.run(target, ticket);
    };
    this.hand = work().catch((what) => { this.error = what; });
    await this.hand;
    if (ticket !== this.turn) return;
    this.busy = false;
    this.aim = undefined;
    this.drawn = true;
  }

  /** No more is to be drawn from here to there than from a picture. */
  private async isNear(n: number, target: number): Promise<boolean> {
    if (this.fresh || n !== this.segment) return false;
    const part = await this.part(n);
    return part !== null && weight(part, this.index, target) <= NEAR;
  }

  /** Puts the screen as it was at the last place before a moment of segment `n` of which there is a picture. */
  private async jump(n: number, to: number, ticket: number): Promise<void> {
    if (n < this.reel.count) void this.reel.segment(n).catch(() => {});
    let from = n;
    let picture = to > 0 ? await this.reel.picture(from, to) : null;
    while (!picture && from > 0) picture = await this.reel.picture(--from, to);
    if (ticket !== this.turn) return;
    this.screen.terminal.reset();
    this.fresh = false;
    this.segment = from;
    this.index = picture?.frames ?? 0;
    if (picture && (from > 0 || this.index > 0)) {
      this.resize(picture);
      // Whatever is drawn next is drawn after it.
      void this.write(picture.state);
    }
  }

  /** One write forwards or back. */
  async step(direction: 1 | -1): Promise<void> {
    this.playing = false;
    await this.hand;
    if (direction > 0) {
      const next = await this.upcoming();
      return next === undefined ? undefined : this.seek(next);
    }
    const part = await this.part(this.segment).catch(() => null);
    const before = part?.at[this.index - 2] ?? (this.segment > 0 ? this.reel.spans[this.segment - 1]?.until : 0);
    return this.seek(before ?? 0);
  }

  toggle(): void {
    if (!this.playing && this.position >= this.length && !this.growing()) void this.seek(0).then(() => (this.playing = true));
    else this.playing = !this.playing;
  }

  faster(by: 1 | -1): void {
    const at = SPEEDS.indexOf(this.speed) + by;
    this.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, at))]!;
  }
}
