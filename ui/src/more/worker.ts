// Off the main thread: unpacks and checks segments. One question, one answer; nothing is kept.
import { Malformed, parse } from './decode';
import { pack } from './frames';
import { examine, Unable } from './proof';

interface Question {
  id: number;
  what: 'unpack' | 'examine';
  bytes: Uint8Array<ArrayBuffer>;
}

/** Whose fault it is that there is no value: the segment's, the browser's, or ours. */
export type Fault = 'malformed' | 'unable' | 'other';
export interface Answer { id: number; value?: never; fault?: Fault; error?: string }
const fault = (error: unknown): Fault => (error instanceof Malformed ? 'malformed' : error instanceof Unable ? 'unable' : 'other');

addEventListener('message', async (event: MessageEvent<Question>) => {
  const { id, what, bytes } = event.data;
  try {
    if (what === 'examine') return postMessage({ id, value: await examine(bytes) });
    const value = pack(parse(bytes));
    postMessage({ id, value }, { transfer: [value.data.buffer, value.at.buffer, value.kind.buffer, value.start.buffer] });
  } catch (error) {
    postMessage({ id, fault: fault(error), error: error instanceof Error ? error.message : String(error) });
  }
});
