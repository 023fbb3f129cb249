// A segment's frames as they travel between worker and page: a few flat buffers instead of many small objects.
import type { Frame, Segment } from './decode';

/** Frames side by side: one buffer for all of their bytes. */
export interface Frames {
  n: number;
  /** Microseconds since the recording began. */
  at: Float64Array<ArrayBuffer>;
  kind: Uint8Array<ArrayBuffer>;
  /** Where each one's bytes begin; one more for the end of the last. */
  start: Uint32Array<ArrayBuffer>;
  data: Uint8Array<ArrayBuffer>;
}

export function pack(segment: Pick<Segment, 'n' | 'frames'>): Frames {
  const { n, frames } = segment;
  const at = new Float64Array(frames.length);
  const kind = new Uint8Array(frames.length);
  const start = new Uint32Array(frames.length + 1);
  const data = new Uint8Array(frames.reduce((sum, frame) => sum + frame.payload.length, 0));
  let end = 0;
  for (const [i, frame] of frames.entries()) {
    at[i] = frame.at;
    kind[i] = frame.kind;
    start[i] = end;
    data.set(frame.payload, end);
    end += frame.payload.length;
  }
  start[frames.length] = end;
  return { n, at, kind, start, data };
}

export function frame(frames: Frames, i: number): Frame | undefined {
  if (i < 0 || i >= frames.at.length) return undefined;
  return { at: frames.at[i]!, kind: frames.kind[i]!, payload: frames.data.subarray(frames.start[i], frames.start[i + 1]) };
}

/** How many bytes the frames from `i` until a moment have. */
export function weight(frames: Frames, i: number, until: number): number {
  let [low, high] = [i, frames.at.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames.at[middle]! <= until) low = middle + 1;
    else high = middle;
  }
  return frames.start[low]! - (frames.start[i] ?? 0);
}
