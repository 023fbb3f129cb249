// A role's text: what is wrong with it, line by line, before the gate is asked; and what changes between two texts. The
// gate has the last word: this finds what a person mistypes, not what policy means.
import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node, type YAMLMap } from 'yaml';

export interface Mark {
  line: number;
  /** A key of the words, and what goes into it. */
  key: string;
  with: Record<string, string>;
  /** The gate would refuse it; else it is kept and may have no effect. */
  grave: boolean;
}

type Shapes = { [key: string]: Shape };
type Shape = 'text' | 'list' | 'map' | 'any' | 'labels' | Shapes;

const RULE: Shapes = { resources: 'list', verbs: 'list', where: 'text' };
const CONDITIONS: Shape = { logins: 'list', node_labels: 'labels', rules: 'any' };
const OPTIONS: Shape = {
  client_idle_timeout: 'text', disconnect_expired_cert: 'any', forward_agent: 'any', max_connections: 'any', max_session_ttl: 'text', max_sessions: 'any',
  permit_x11_forwarding: 'any', pin_source_ip: 'any', port_forwarding: 'any', record_session: 'map', ssh_file_copy: 'any',
};
const ROLE: Shapes = {
  kind: 'text', version: 'text',
  metadata: { name: 'text', description: 'text', labels: 'map', expires: 'text', revision: 'any' },
  spec: { options: OPTIONS, allow: CONDITIONS, deny: CONDITIONS },
};

export function marks(text: string): Mark[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const found: Mark[] = [];
  const at = (node: unknown) => lines.linePos((node as Node | null)?.range?.[0] ?? 0).line || 1;
  for (const error of [...document.errors, ...document.warnings]) {
    found.push({ line: error.linePos?.[0].line ?? 1, key: 'roles.badYaml', with: { why: error.message.split('\n')[0]!.replace(/ at line .*$/, '') }, grave: true });
  }
  if (found.length) return found;
  const wrong = (node: unknown, key: string, name: string, grave = true) => found.push({ line: at(node), key, with: { key: name }, grave });
  const map = (node: unknown, shape: Shapes, needed: string[], name: string): void => {
    if (!isMap(node)) return void wrong(node, 'roles.notMap', name);
    for (const { key, value } of (node as YAMLMap<Node, Node | null>).items) {
      const word = isScalar(key) ? String(key.value) : '';
      const wanted = shape[word];
      if (wanted === undefined) wrong(key, 'roles.unknown', word, false);
      else check(value ?? key, wanted, word, value === null || (isScalar(value) && value.value === null));
    }
    for (const word of needed) if (!node.has(word)) wrong(node, 'roles.missing', word);
  };
  const check = (node: unknown, shape: Shape, name: string, empty: boolean): void => {
    if (empty || shape === 'any') {
      if (name === 'rules' && isSeq(node)) for (const rule of node.items) map(rule, RULE, ['resources', 'verbs'], 'rules');
      return;
    }
    if (shape === 'text' && !isScalar(node)) wrong(node, 'roles.notText', name);
    else if (shape === 'list' && !isSeq(node)) wrong(node, 'roles.notList', name);
    else if ((shape === 'map' || shape === 'labels') && !isMap(node)) wrong(node, 'roles.notMap', name);
    else if (typeof shape === 'object') map(node, shape, name === 'metadata' ? ['name'] : [], name);
  };
  map(document.contents, ROLE, ['kind', 'version', 'metadata', 'spec'], 'role');
  return found.sort((a, b) => a.line - b.line);
}

export interface Line {
  text: string;
  how: 'same' | 'added' | 'gone';
}

/** What changed and the lines around it; of what lies between only how many lines they are. */
export function shortened(lines: Line[], around = 3): (Line | { skipped: number })[] {
  const out: (Line | { skipped: number })[] = [];
  for (const [i, line] of lines.entries()) {
    const last = out[out.length - 1];
    if (lines.slice(Math.max(0, i - around), i + around + 1).some((near) => near.how !== 'same')) out.push(line);
    else if (last && 'skipped' in last) last.skipped += 1;
    else out.push({ skipped: 1 });
  }
  return out;
}

/** The shortest way from one text to another, line by line. Bounded: roles are 64 KiB at most. */
export function diff(before: string, after: string): Line[] {
  const [a, b] = [before.trimEnd().split('\n'), after.trimEnd().split('\n')];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1]! + 1 : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
    }
  }
  const out: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ text: a[i]!, how: 'same' });
      i += 1;
      j += 1;
    } else if (i < a.length && (j >= b.length || common[(i + 1) * width + j]! >= common[i * width + j + 1]!)) {
      out.push({ text: a[i]!, how: 'gone' });
      i += 1;
    } else {
      out.push({ text: b[j]!, how: 'added' });
      j += 1;
    }
  }
  return out;
}
