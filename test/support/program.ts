import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What Node.js runs as `walhouse`: what was built, where the run of the tests has seen to it that it is current (it starts in a third of the
 * time), otherwise the source as it is now.
 */
export const PROGRAM: readonly string[] =
  process.env['WALHOUSE_TEST_BUILT'] === '1'
    ? ['dist/program/main.js']
    : ['--import', 'tsx', 'src/cli/main.ts'];

/** A folder for PATH, made inside `directory`, in which `walhouse` is that program, wherever it is called. */
export function programOnPath(directory: string): string {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const words =
    PROGRAM.length === 1
      ? [join(root, PROGRAM[0]!)]
      : ['--import', join(root, 'node_modules/tsx/dist/loader.mjs'), join(root, 'src/cli/main.ts')];
  const file = join(directory, 'walhouse');
  writeFileSync(
    file,
    `#!/bin/sh\nexec '${process.execPath}' ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`,
  );
  chmodSync(file, 0o755);
  return directory;
}

/** Whether this machine has a program that a document uses. */
export function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
