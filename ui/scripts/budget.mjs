// After a build: the first load fits its budget, nothing is inline, nothing comes from elsewhere, and what everybody
// may load says nothing of what only some may see.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist/app');
const BUDGET = 350 * 1024;
const page = readFileSync(join(dist, 'index.html'), 'utf8');
const wrong = [];
if (/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/.test(page)) wrong.push('index.html has something inline');

const first = [...page.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map((m) => m[1]);
let bytes = gzipSync(page).length;
for (const name of first) bytes += gzipSync(readFileSync(join(dist, name))).length;
if (bytes > BUDGET) wrong.push(`first load is ${bytes} bytes, more than ${BUDGET}`);

for (const name of readdirSync(join(dist, 'assets'))) {
  if (!/\.(js|css)$/.test(name)) continue;
  const text = readFileSync(join(dist, 'assets', name), 'utf8');
  const told = text.match(/.{0,30}(recording|replay(?!er)|audit|录像|录制|审计|回放).{0,30}/i);
  if (told) wrong.push(`assets/${name} says: ${told[0]}`);
}
for (const part of ['more', 'told']) {
  if (!existsSync(join(dist, part)) || !readdirSync(join(dist, part)).some((n) => n.endsWith('.js'))) wrong.push(`there is no ${part}/`);
}
if (wrong.length) {
  console.error(wrong.join('\n'));
  process.exit(1);
}
console.log(`first load: ${(bytes / 1024).toFixed(1)} KiB gzip of ${BUDGET / 1024} (${first.join(', ')})`);
