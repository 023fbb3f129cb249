// Off the main thread: unpacks and checks segments. One question, one answer; nothing is kept.
import { parse } from './decode';
import { pack } from './frames';
import { examine } from './proof';

interface Question {
  id: number;
  what: 'unpack' | 'examine';
  bytes: Uint8Array<ArrayBuffer>;
}

addEventListener('message', async (event: MessageEvent<Question>) => {
  const { id, what, bytes } = event.data;
  try {
    if (what === 'examine') return postMessage({ id, value: await examine(bytes) });
    const value = pack(parse(bytes));
    postMessage({ id, value }, { transfer: [value.data.buffer, value.at.buffer, value.kind.buffer, value.start.buffer] });
  } catch (error) {
    postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
