import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// What only some people may see goes into more/ and told/, which the gate serves to nobody else.
const folder = (name: string | undefined) => ['more', 'told'].find((part) => name?.startsWith(part)) ?? 'assets';

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    outDir: 'dist/app',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: (chunk) => `${folder(chunk.name)}/[name]-[hash].js`,
        assetFileNames: (asset) => `${folder(asset.names[0])}/[name]-[hash][extname]`,
      },
    },
  },
  // The one worker reads what is in more/.
  worker: { format: 'es', rollupOptions: { output: { entryFileNames: 'more/[name]-[hash].js', chunkFileNames: 'more/[name]-[hash].js' } } },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
});
