// A terminal's way breaks without a word: no end of it comes, and no answer either.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connection, key, type Goal, type Status } from '../src/terminal/connection';

/** A WebSocket of a browser that waits for its peer, who is not there, to agree to an end. */
class Line {
  static OPEN = 1;
  static all: Line[] = [];
  readyState = 0;
  sent: (string | ArrayBuffer)[] = [];
  onopen = () => {};
  onmessage: (event: { data: ArrayBuffer }) => void = () => {};
  onclose = () => {};
  constructor() {
    Line.all.push(this);
  }
  send(what: string | ArrayBuffer): void {
    this.sent.push(what);
  }
  close(): void {
    this.readyState = 2;
  }
  /** The upgrade came about, and the gate has said this. */
  opens(...news: object[]): void {
    this.readyState = 1;
    this.onopen();
    for (const one of news) this.says(1, new TextEncoder().encode(JSON.stringify(one)));
  }
  says(kind: number, rest: Uint8Array): void {
    this.onmessage({ data: new Uint8Array([kind, ...rest]).buffer });
  }
  /** What the page has sent of this kind, without the byte that says so. */
  of(kind: number): Uint8Array[] {
    const frames = this.sent.filter((one) => typeof one !== 'string').map((one) => new Uint8Array(one));
    return frames.filter((one) => one[0] === kind).map((one) => one.subarray(1));
  }
}
const PING = 3;
const OPEN = { state: 'open', terminal: 'one', carrier: 'tls' };
let asked: string[] = [];
let answers: boolean;
let seen: Status[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  [Line.all, asked, seen, answers] = [[], [], [], true];
  vi.stubGlobal('window', globalThis);
  vi.stubGlobal('location', { href: 'https://gate.test/' });
  vi.stubGlobal('WebSocket', Line);
  vi.stubGlobal('performance', { now: () => Date.now() });
  vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), ms);
    return stop.signal;
  });
  vi.stubGlobal('fetch', (_: string, how: RequestInit) => {
    asked.push(String(how.body));
    if (answers) return Promise.resolve(new Response('{"ticket":"once"}'));
    return new Promise((_, failed) => how.signal?.addEventListener('abort', () => failed(new DOMException('', 'TimeoutError'))));
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

const begin = (goal: Goal = { node: 'n', login: 'root', keep: key() }) => new Connection(goal, {
  draw: () => {}, gap: () => {}, status: (status) => seen.push(status), latency: () => {}, size: () => ({ cols: 80, rows: 24 }), named: () => {},
});
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
/** Time goes by as where every question is answered at once. */
async function well(line: Line, ms: number, step = 1_000): Promise<void> {
  let answered = line.of(PING).length;
  for (let gone = 0; gone < ms; gone += step) {
    await pass(step);
    for (const ping of line.of(PING).slice(answered)) line.says(PING, ping);
    answered = line.of(PING).length;
  }
}

test('a line that says nothing any more is left, and not waited for', async () => {
  const connection = begin();
  await pass(0);
  Line.all[0]!.opens({ state: 'dialing' }, OPEN);
  await well(Line.all[0]!, 60_000);
  expect(Line.all).toHaveLength(1);

  await pass(35_000);

  expect(Line.all[0]!.readyState, 'it is told').toBe(2);
  expect(Line.all).toHaveLength(2);
  expect(JSON.parse(asked.at(-1)!)).toEqual({ terminal: 'one' });
  Line.all[1]!.opens(OPEN);
  Line.all[0]!.onclose();
  expect(seen.at(-1)).toMatchObject({ state: 'open', stalled: null });
  connection.leave();
});

const typed = (line: Line) => line.of(0).map((bytes) => new TextDecoder().decode(bytes));
const write = (connection: Connection, text: string) => connection.type(new TextEncoder().encode(text));

test('what a line took with it when it broke goes again, from where the gate says, and before what was typed since', async () => {
  const connection = begin();
  await pass(0);
  Line.all[0]!.opens({ ...OPEN, had: 0 });
  write(connection, 'echo ');
  write(connection, 'once');
  expect(typed(Line.all[0]!)).toEqual(['echo ', 'once']);

  Line.all[0]!.onclose();
  write(connection, ' more');
  await pass(1_000);
  Line.all[1]!.opens({ ...OPEN, had: 7 });

  expect(typed(Line.all[1]!)).toEqual(['ce', ' more']);
  const count = new Uint8Array(8);
  new DataView(count.buffer).setBigUint64(0, 14n);
  Line.all[1]!.says(2, count);
  Line.all[1]!.onclose();
  await pass(1_000);
  Line.all[2]!.opens({ ...OPEN, had: 14 });
  expect(typed(Line.all[2]!), 'nothing goes twice').toEqual([]);
  connection.leave();
});

test('what was sent to one terminal does not go to another', async () => {
  const connection = begin();
  await pass(0);
  Line.all[0]!.opens({ ...OPEN, had: 0 });
  write(connection, 'sent');
  Line.all[0]!.says(1, new TextEncoder().encode('{"state":"lost"}'));
  write(connection, 'not yet');
  await pass(1_000);

  Line.all[1]!.opens({ state: 'open', terminal: 'two', had: 0 });

  expect(typed(Line.all[1]!)).toEqual(['not yet']);
  connection.leave();
});

test('a terminal that ended since its ticket was given is come back to by its key', async () => {
  begin();
  await pass(0);
  Line.all[0]!.opens(OPEN);
  Line.all[0]!.onclose();
  await pass(400);

  Line.all[1]!.opens({ state: 'lost', why: 'that terminal is over' });
  await pass(1_000);

  expect(asked.map((one) => Object.keys(JSON.parse(one)))).toEqual([['node', 'login', 'keep', 'resume'], ['terminal'], ['node', 'login', 'keep', 'resume']]);
  expect(JSON.parse(asked[2]!).resume).toBe(true);
  expect(seen.at(-1)).toEqual({ state: 'again', hop: 'node' });
});

const LOST = { state: 'lost', why: 'too old' };

test('a line that is lost before a shell was there asks for a new one, and not for ever', async () => {
  begin();
  await pass(0);
  for (const n of [0, 1, 2]) {
    expect(JSON.parse(asked[n]!)).toMatchObject({ node: 'n', resume: false });
    expect(seen.at(-1)).toEqual({ state: 'dialing' });
    Line.all[n]!.opens(LOST);
    await pass(2_000);
  }

  expect(seen.at(-1)).toEqual({ state: 'refused', why: 'too old' });
  expect(asked).toHaveLength(3);
});

test('a line that is lost before it was open does not end a shell that was there', async () => {
  const connection = begin();
  await pass(0);
  Line.all[0]!.opens(OPEN);
  Line.all[0]!.onclose();
  await pass(1_000);
  for (let n = 1; n < 10; n += 1) {
    Line.all[n]!.opens(LOST);
    await pass(15_000);
  }

  expect(JSON.parse(asked.at(-1)!)).toMatchObject({ node: 'n', resume: true });
  expect(seen.at(-1)).toEqual({ state: 'again', hop: 'node' });
  Line.all.at(-1)!.opens(OPEN);
  expect(seen.at(-1)).toMatchObject({ state: 'open' });
  connection.leave();
});

test('a terminal without a key is asked for again when only its line is lost', async () => {
  const connection = begin({ terminal: 'one' });
  await pass(0);
  Line.all[0]!.opens(LOST);
  await pass(1_000);

  expect(asked.map((one) => JSON.parse(one))).toEqual([{ terminal: 'one' }, { terminal: 'one' }]);
  Line.all[1]!.opens(OPEN);
  Line.all[1]!.says(1, new TextEncoder().encode(JSON.stringify(LOST)));
  expect(seen.at(-1), 'the gate ended it').toEqual({ state: 'refused', why: 'too old' });
  connection.leave();
});

test('a ticket that does not come is asked for again', async () => {
  answers = false;
  const connection = begin();
  await pass(14_000);
  expect(asked).toHaveLength(1);

  await pass(3_000);

  expect(asked.length).toBeGreaterThan(1);
  connection.leave();
});

test('a gate that dials has longer', async () => {
  const connection = begin();
  await pass(0);
  Line.all[0]!.opens({ state: 'dialing' });

  await pass(45_000);

  expect(Line.all).toHaveLength(1);
  await pass(60_000);
  expect(Line.all.length).toBeGreaterThan(1);
  connection.leave();
});

test('a tab that is seldom let run keeps its line', async () => {
  const connection = begin();
  await pass(0);
  const line = Line.all[0]!;
  line.opens({ state: 'dialing' }, OPEN);
  await well(line, 30_000);
  // Once a minute, as browsers do with tabs in the background: the clock goes on, the timers do not.
  for (let minute = 0; minute < 5; minute += 1) {
    vi.setSystemTime(Date.now() + 59_000);
    await well(line, 1_000);
  }

  expect([Line.all.length, line.readyState]).toEqual([1, 1]);
  connection.leave();
});
