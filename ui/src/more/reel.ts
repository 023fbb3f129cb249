// A recording as the player needs it: segments fetched when they are wanted, few of them kept.
import { getSegment } from '../api/recordings';
import { parse, type Segment } from './decode';

const KEPT = 12;

export class Reel {
  private kept = new Map<number, Promise<Segment>>();
  constructor(readonly id: string, public count: number) {}

  bytes(n: number): Promise<Uint8Array> {
    return getSegment({ id: this.id, n });
  }

  segment(n: number): Promise<Segment> {
    const there = this.kept.get(n);
    if (there) {
      this.kept.delete(n);
      this.kept.set(n, there);
      return there;
    }
    const coming = this.bytes(n).then(parse);
    coming.catch(() => this.kept.delete(n));
    this.kept.set(n, coming);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(old);
    }
    return coming;
  }

  /** Microseconds from the first to the last frame. */
  async length(): Promise<number> {
    return this.count ? (await this.segment(this.count - 1)).until : 0;
  }
}
