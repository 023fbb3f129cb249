// The app in Debian's Chromium against the built program, real nodes and a real nginx: `npx vitest run -c e2e/vitest.config.ts`.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import Halves from './world/halves.ts';

const here = fileURLToPath(new URL('.', import.meta.url));

export default defineConfig({
  root: here,
  cacheDir: '../node_modules/.vite-browser',
  test: {
    include: [process.env['MOONGATE_BENCH'] ? 'bench/*.spec.ts' : process.env['MOONGATE_SHOTS'] ? 'shots/*.spec.ts' : 'specs/**/*.spec.ts'],
    globalSetup: ['world/setup.ts'],
    setupFiles: ['world/each.ts'],
    environment: 'node',
    // A snapshot that is missing fails like one that differs; `--update` alone writes.
    update: 'none',
    fileParallelism: false,
    isolate: false,
    pool: 'threads',
    sequence: { sequencer: Halves },
    // Each wait is for a condition and has a limit of its own; these are for machines that do ten things at once.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 120_000 } },
    reporters: ['default', `${here}world/summary.ts`],
  },
});
