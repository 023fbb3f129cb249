// Many open terminals of many browsers: a page signed in for each group opens them as the app does, without drawing.
import type { Page } from 'playwright-core';

/** Opens `count` shells on the node and keeps them: acknowledges what comes and pings every 10 s, as a page does. */
export function hold(page: Page, node: string, count: number): Promise<number> {
  return page.evaluate(async ({ node, count }) => {
    const { csrf } = await (await fetch('/webapi/session')).json() as { csrf: string };
    const headers = { 'content-type': 'application/json', 'x-csrf-token': csrf };
    const one = async (): Promise<boolean> => {
      const asked = await fetch('/webapi/terminal/tickets', { method: 'POST', headers, body: JSON.stringify({ node, login: 'root' }) });
      const { ticket } = await asked.json() as { ticket: string };
      const line = new WebSocket(`wss://${location.host}/webapi/terminal`);
      line.binaryType = 'arraybuffer';
      line.onopen = () => line.send(JSON.stringify({ ticket, cols: 80, rows: 24, seen: 0 }));
      return new Promise<boolean>((done) => {
        const pings = setInterval(() => {
          const ping = new Uint8Array(9);
          ping[0] = 3;
          if (line.readyState === WebSocket.OPEN) line.send(ping.buffer);
        }, 10_000);
        line.onclose = () => { clearInterval(pings); done(false); };
        line.onmessage = (event: MessageEvent<ArrayBuffer>) => {
          const view = new DataView(event.data);
          if (view.getUint8(0) !== 0) return;
          const ack = new DataView(new ArrayBuffer(9));
          ack.setUint8(0, 1);
          ack.setBigUint64(1, view.getBigUint64(1) + BigInt(event.data.byteLength - 9));
          line.send(ack.buffer);
          done(true);
        };
      });
    };
    let there = 0;
    for (let i = 0; i < count; i += 1) there += Number(await one());
    return there;
  }, { node, count });
}
