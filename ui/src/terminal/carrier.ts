// What carries a terminal's frames: a WebSocket, or plain HTTP (a streamed answer one way, posts the other) behind a front
// that does not pass upgrades. Frames are the same; on plain HTTP each has its length before it.
import { at, post, stream } from '../lib/transport';
import { decode, type News } from './wire';

export interface Carrier {
  readonly kind: 'socket' | 'plain';
  send(frame: ArrayBuffer): void;
  close(): void;
}

export interface Hears {
  /** It is there, for the first message to go. */
  open(): void;
  frame(data: ArrayBuffer): void;
  /** It is gone, or was never there. */
  closed(): void;
  /** What a front dropped of the upgrade, as the gate saw it. */
  missing?(what: string): void;
}

export function socket(first: () => string, hears: Hears): Carrier {
  const line = new WebSocket(at('/webapi/terminal').replace(/^http/, 'ws'));
  line.binaryType = 'arraybuffer';
  line.onopen = () => {
    line.send(first());
    hears.open();
  };
  line.onmessage = (event: MessageEvent<ArrayBuffer>) => hears.frame(event.data);
  line.onclose = () => hears.closed();
  return {
    kind: 'socket',
    send: (frame) => { if (line.readyState === WebSocket.OPEN) line.send(frame); },
    close: () => line.close(),
  };
}

/** The most in one post: the gate takes 64 KiB. */
const MAX_POST = 60 * 1024;

/** Cuts a stream into frames by the lengths before them. */
export class Cutter {
  private rest = new Uint8Array(0);

  *cut(bytes: Uint8Array): Generator<ArrayBuffer> {
    let all = bytes;
    if (this.rest.length) {
      all = new Uint8Array(this.rest.length + bytes.length);
      all.set(this.rest);
      all.set(bytes, this.rest.length);
    }
    let from = 0;
    while (all.length - from >= 4) {
      const length = new DataView(all.buffer, all.byteOffset + from).getUint32(0);
      if (all.length - from - 4 < length) break;
      yield all.slice(from + 4, from + 4 + length).buffer as ArrayBuffer;
      from += 4 + length;
    }
    this.rest = all.slice(from);
  }
}

export function plain(first: () => string, hears: Hears): Carrier {
  const stop = new AbortController();
  let secret = '';
  let waiting: ArrayBuffer[] = [];
  let busy = false;
  let over = false;

  const end = () => {
    if (over) return;
    over = true;
    stop.abort();
    hears.closed();
  };
  // One post at a time: what is typed keeps its order.
  const flush = async (): Promise<void> => {
    if (busy || !secret) return;
    busy = true;
    try {
      while (waiting.length) {
        const batch: ArrayBuffer[] = [];
        let size = 0;
        while (waiting[0] && (batch.length === 0 || size + waiting[0].byteLength + 4 <= MAX_POST)) {
          const frame = waiting.shift()!;
          const length = new DataView(new ArrayBuffer(4));
          length.setUint32(0, frame.byteLength);
          batch.push(length.buffer, frame);
          size += frame.byteLength + 4;
        }
        await post('/webapi/terminal/frames', new Blob(batch), { 'X-Terminal-Line': secret });
      }
    } catch {
      end();
    } finally {
      busy = false;
    }
  };
  const read = async (): Promise<void> => {
    let worked = false;
    try {
      const reader = (await stream('/webapi/terminal/line', first(), stop.signal)).body!.getReader();
      const cutter = new Cutter();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        for (const frame of cutter.cut(value)) {
          if (!worked) {
            const message = decode(frame);
            const news = message?.kind === 'news' ? (message.news as News) : null;
            secret = news?.line ?? '';
            worked = true;
            hears.open();
            if (news?.missing) hears.missing?.(news.missing);
            void flush();
          } else hears.frame(frame);
        }
      }
    } catch {
      // Told below, like an end.
    }
    end();
  };
  void read();
  return {
    kind: 'plain',
    send: (frame) => {
      waiting.push(frame);
      void flush();
    },
    close: () => {
      // What was said last, such as the end of the shell, is still to go.
      const go = async () => {
        await flush();
        while (busy && !over) await new Promise((done) => setTimeout(done, 20));
        stop.abort();
      };
      void go();
      setTimeout(() => stop.abort(), 2_000);
    },
  };
}
