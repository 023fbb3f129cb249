// The frames of docs/formats/web-terminal.md.

export const MAX_INPUT_FRAME = 32 * 1024;

export type FromGate =
  | { kind: 'output'; offset: number; bytes: Uint8Array }
  | { kind: 'news'; news: News }
  | { kind: 'taken'; bytes: number }
  | { kind: 'pong'; stamp: number };

export interface News {
  state: 'line' | 'dialing' | 'open' | 'stalled' | 'flowing' | 'ended' | 'lost' | 'gone' | 'refused';
  terminal?: string;
  /** What carries the node's tunnel. */
  carrier?: string | null;
  /** Input that the node's channel has had since the terminal began. */
  had?: number;
  /** Names this line in posts. */
  line?: string;
  /** What a front dropped of an upgrade. */
  missing?: string | null;
  status?: number;
  signal?: string;
  why?: string;
}

export function decode(message: ArrayBuffer): FromGate | null {
  const view = new DataView(message);
  if (view.byteLength === 0) return null;
  const rest = new Uint8Array(message, 1);
  switch (view.getUint8(0)) {
    case 0:
      if (rest.length < 8) return null;
      return { kind: 'output', offset: Number(view.getBigUint64(1)), bytes: rest.subarray(8) };
    case 1:
      return { kind: 'news', news: JSON.parse(new TextDecoder().decode(rest)) as News };
    case 2:
      return rest.length === 8 ? { kind: 'taken', bytes: Number(view.getBigUint64(1)) } : null;
    case 3:
      return rest.length === 8 ? { kind: 'pong', stamp: view.getFloat64(1) } : null;
    default:
      return null;
  }
}

function frame(kind: number, length: number, fill: (view: DataView) => void): ArrayBuffer {
  const buffer = new ArrayBuffer(length + 1);
  const view = new DataView(buffer);
  view.setUint8(0, kind);
  fill(view);
  return buffer;
}

export const input = (bytes: Uint8Array): ArrayBuffer =>
  frame(0, bytes.length, (view) => new Uint8Array(view.buffer).set(bytes, 1));
export const ack = (offset: number): ArrayBuffer => frame(1, 8, (view) => view.setBigUint64(1, BigInt(offset)));
export const resize = (cols: number, rows: number): ArrayBuffer =>
  frame(2, 4, (view) => { view.setUint16(1, cols); view.setUint16(3, rows); });
export const ping = (stamp: number): ArrayBuffer => frame(3, 8, (view) => view.setFloat64(1, stamp));
export const close = (): ArrayBuffer => frame(4, 0, () => {});
