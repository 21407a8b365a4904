import { execFile } from 'node:child_process';
import { PROGRAM } from './program.js';

const ROOT = new URL('../../', import.meta.url).pathname;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command of `walhouse` as its users do, in a process of its own, until it ends. */
export function cli(
  args: readonly string[],
  environment: Record<string, string> = {},
  timeout = 60_000,
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...PROGRAM, ...args],
      { cwd: ROOT, timeout, env: { ...process.env, ...environment }, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}
