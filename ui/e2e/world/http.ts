// HTTP as a script would do it, to a gate whose certificate signs itself.
import { request } from 'node:https';

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

export function call(port: number, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const own: Record<string, string> = { origin: `https://127.0.0.1:${port}`, ...headers };
  if (text !== undefined) Object.assign(own, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) });
  return new Promise((done, failed) => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers: own, rejectUnauthorized: false, agent: false, timeout: 60_000 }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', failed);
      answer.on('end', () => done({ status: answer.statusCode ?? 0, headers: answer.headers, text: Buffer.concat(parts).toString('utf8') }));
    });
    asked.on('timeout', () => asked.destroy(new Error(`${method} ${path}: no answer in time`)));
    asked.on('error', failed);
    asked.end(text);
  });
}

export async function json<T>(port: number, method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
  const answer = await call(port, method, path, body, headers);
  if (answer.status < 200 || answer.status > 299) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as T;
}
