// A recording as the player needs it: segments fetched when they are wanted and unpacked in a worker, few of them kept.
import { getPicture, getSegment, type GetPictureAnswer } from '../api/recordings';
import type { SegmentSpan } from '../api/types';
import { parts } from '../lib/part.svelte';
import { Refused } from '../lib/transport';
import { Malformed } from './decode';
import type { Frames } from './frames';
import { Unable, type Examined } from './proof';
import type { Answer } from './worker';

/** What unpacked segments may take together, in bytes. */
const KEPT = 32 * 1024 * 1024;
/** Pictures kept. */
const PICTURES = 64;

export class Reel {
  /** Where the segments lie in time, as far as they have been looked through. */
  spans: SegmentSpan[] = [];
  private worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
  private asked = new Map<number, { done: (value: never) => void; fail: (error: Error) => void }>();
  private next = 0;
  private kept = new Map<number, Promise<Frames>>();
  private sizes = new Map<number, number>();
  private pictures: (GetPictureAnswer & { n: number })[] = [];

  /** The worker could not be had. */
  private missing: Error | null = null;

  constructor(readonly id: string, public count: number) {
    this.worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const who = this.asked.get(data.id);
      this.asked.delete(data.id);
      if (data.fault === undefined) who?.done(data.value as never);
      else if (data.fault === 'unable') who?.fail(new Unable());
      else who?.fail(data.fault === 'malformed' ? new Malformed(data.error) : new Error(data.error));
    };
    // What goes wrong with one question is answered: this is the worker as a whole.
    this.worker.onerror = () => {
      parts.missing = true;
      this.missing = new Refused(404, 'missing', '');
      for (const who of this.asked.values()) who.fail(this.missing);
      this.asked.clear();
    };
  }

  close(): void {
    this.worker.terminate();
  }

  private ask<T>(what: 'unpack' | 'examine', bytes: Uint8Array): Promise<T> {
    const id = this.next++;
    return new Promise<T>((done, fail) => {
      if (this.missing) return fail(this.missing);
      this.asked.set(id, { done, fail });
      this.worker.postMessage({ id, what, bytes }, { transfer: [bytes.buffer] });
    });
  }

  async examined(n: number): Promise<Examined> {
    return this.ask<Examined>('examine', await getSegment({ id: this.id, n }));
  }

  segment(n: number): Promise<Frames> {
    const there = this.kept.get(n);
    if (there) {
      this.kept.delete(n);
      this.kept.set(n, there);
      return there;
    }
    const coming = getSegment({ id: this.id, n }).then((bytes) => this.ask<Frames>('unpack', bytes));
    coming.then((frames) => this.sizes.set(n, frames.data.length + frames.at.length * 13)).catch(() => this.kept.delete(n));
    this.kept.set(n, coming);
    this.forget(n);
    return coming;
  }

  private forget(but: number): void {
    let all = 0;
    for (const n of this.kept.keys()) all += this.sizes.get(n) ?? 0;
    for (const n of [...this.kept.keys()]) {
      if (all <= KEPT && this.kept.size <= 256) return;
      if (n === but) continue;
      all -= this.sizes.get(n) ?? 0;
      this.kept.delete(n);
      this.sizes.delete(n);
    }
  }

  /** A segment's last screen before a moment of which there is a picture; nothing when it has not been looked through. */
  async picture(n: number, at: number): Promise<GetPictureAnswer | null> {
    if (n >= this.spans.length) return null;
    const there = this.pictures.find((p) => p.n === n && (p.at ?? 0) <= at && at < (p.until ?? Infinity));
    if (there) return there;
    const found = await getPicture({ id: this.id, n, at: Math.round(at) }).catch(() => null);
    if (!found?.state) return null;
    this.pictures = [...this.pictures.slice(1 - PICTURES), { ...found, n }];
    return found;
  }

  /** The segment in which a moment is: the last one that begins before it. */
  find(at: number): number {
    let [low, high] = [0, this.spans.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.spans[middle]!.from <= at) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** Microseconds from the first to the last frame that is sealed. */
  async length(): Promise<number> {
    if (!this.count) return 0;
    const last = this.spans[this.count - 1];
    if (last) return last.until;
    const frames = await this.segment(this.count - 1);
    return frames.at[frames.at.length - 1] ?? 0;
  }
}
