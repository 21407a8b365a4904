// Puts what the compiler made, and the libraries it uses, into few files: `walhouse` starts in half the time, since it opens
// a dozen files and not some six hundred. They lie two folders deep, like every module, so that what is read by way of the
// root is found.

import { build } from 'esbuild';
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(ROOT, 'dist', 'program');

rmSync(OUT, { recursive: true, force: true });
await build({
  entryPoints: [join(ROOT, 'dist', 'cli', 'main.js')],
  outdir: OUT,
  bundle: true,
  // What a command does not need stays in a file of its own, read when it is.
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  sourcesContent: false,
  // Libraries that are CommonJS ask for Node.js's own modules by `require`.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
  },
  // pg looks for it and does without.
  external: ['pg-native'],
  logLevel: 'warning',
});

// What pages take from the service, as it is in the libraries.
mkdirSync(join(OUT, 'assets'));
const assets = JSON.parse(readFileSync(join(ROOT, 'src', 'ops', 'dashboard', 'assets.json'), 'utf8'));
for (const { name, from } of assets)
  copyFileSync(join(ROOT, 'node_modules', from), join(OUT, 'assets', name));
