// Writes src/api/*.ts from docs/reference/openapi.json: one function a verb that people may be granted, one file a noun.
// `--check` writes nothing and fails when a file is not what it would write.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, '../src/api');
const doc = JSON.parse(readFileSync(join(here, '../../docs/reference/openapi.json'), 'utf8'));
const used = new Set();

function note(schema) {
  const text = (schema?.description ?? '').replace(/\s+/g, ' ').replace(/\*\//g, '* /').trim();
  return text ? `/** ${text} */ ` : '';
}

function type(schema) {
  if (schema === true || schema === undefined) return 'unknown';
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    used.add(name);
    return name;
  }
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(' | ');
  const many = schema.anyOf ?? schema.oneOf;
  if (many) return [...new Set(many.map(type))].join(' | ');
  if (schema.allOf) return schema.allOf.map(type).join(' & ');
  if (Array.isArray(schema.type)) return schema.type.map((t) => type({ ...schema, type: t })).join(' | ');
  switch (schema.type) {
    case 'string': return 'string';
    case 'integer': case 'number': return 'number';
    case 'boolean': return 'boolean';
    case 'null': return 'null';
    case 'array': return `(${type(schema.items)})[]`;
    default: return object(schema);
  }
}

function object(schema) {
  const fields = Object.entries(schema.properties ?? {});
  const rest = schema.additionalProperties;
  if (!fields.length) return rest === false ? 'Record<string, never>' : `Record<string, ${rest ? type(rest) : 'unknown'}>`;
  const required = new Set(schema.required ?? []);
  const lines = fields.map(([name, s]) => `  ${note(s)}${JSON.stringify(name)}${required.has(name) ? '' : '?'}: ${type(s)};`);
  return `{\n${lines.join('\n')}\n}`;
}

const lower = (name) => name[0].toLowerCase() + name.slice(1);
const files = new Map();

for (const [path, verbs] of Object.entries(doc.paths)) {
  for (const [method, verb] of Object.entries(verbs)) {
    if (!verb['x-asker']?.startsWith('granted')) continue;
    const noun = path.split('/')[2];
    const answer = Object.keys(verb.responses['200'].content ?? {})[0];
    const inPath = (verb.parameters ?? []).filter((p) => p.in === 'path');
    const inQuery = (verb.parameters ?? []).filter((p) => p.in === 'query');
    const body = verb.requestBody?.content?.['application/json']?.schema;
    used.clear();
    const ask = [
      ...[...inPath, ...inQuery].map((p) => `  ${note(p.schema)}${JSON.stringify(p.name)}${p.required ? '' : '?'}: ${type(p.schema)};`),
      ...Object.entries(body?.properties ?? {})
        .filter(([name]) => !inPath.some((p) => p.name === name))
        .map(([name, s]) => `  ${note(s)}${JSON.stringify(name)}${(body.required ?? []).includes(name) ? '' : '?'}: ${type(s)};`),
    ];
    const op = verb.operationId;
    const file = files.get(noun) ?? { uses: new Set(), text: '' };
    const response = answer === 'application/octet-stream' ? 'Uint8Array' : type(verb.responses['200'].content[answer].schema);
    const call = answer === 'application/octet-stream' ? 'bytes' : answer === 'application/x-ndjson' ? 'lines' : 'json';
    used.forEach((name) => file.uses.add(name));
    file.uses.add(`+${call}`);
    const result = call === 'lines' ? `AsyncGenerator<${op}Answer>` : `Promise<${op}Answer>`;
    file.text += `
/** What ${lower(op)} asks. */
export interface ${op} {${ask.length ? `\n${ask.join('\n')}\n` : ''}}
/** What ${lower(op)} answers. */
export type ${op}Answer = ${response};
/** ${verb.summary} */
export function ${lower(op)}(ask: ${op}${ask.some((l) => !l.includes('?:')) ? '' : ' = {}'}, how?: How): ${result} {
  return ${call}<${op}Answer>('${method.toUpperCase()}', '${path}', ask, how);
}
`;
    files.set(noun, file);
  }
}

const head = '// Written by `npm run gen` from docs/reference/openapi.json: change that, not this.\n';
const written = new Map();
for (const [noun, file] of files) {
  const calls = [...file.uses].filter((u) => u.startsWith('+')).map((u) => u.slice(1)).sort();
  const types = [...file.uses].filter((u) => !u.startsWith('+')).sort();
  let text = `${head}import { ${calls.join(', ')}, type How } from '../lib/transport';\n`;
  if (types.length) text += `import type { ${types.join(', ')} } from './types';\n`;
  written.set(`${noun}.ts`, text + file.text);
}
let types = head;
for (const [name, schema] of Object.entries(doc.components.schemas)) {
  types += `\n${note(schema)}\nexport type ${name} = ${type(schema)};\n`;
}
written.set('types.ts', types);

mkdirSync(out, { recursive: true });
if (process.argv.includes('--check')) {
  const there = readdirSync(out).sort().join();
  const wanted = [...written.keys()].sort().join();
  const stale = [...written].filter(([name, text]) => { try { return readFileSync(join(out, name), 'utf8') !== text; } catch { return true; } });
  if (there !== wanted || stale.length) {
    console.error(`src/api is not what docs/reference/openapi.json says: npm run gen (${stale.map(([n]) => n)})`);
    process.exit(1);
  }
} else {
  for (const [name, text] of written) writeFileSync(join(out, name), text);
}
