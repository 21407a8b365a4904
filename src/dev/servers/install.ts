import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import { acquireLock } from './install-lock.js';
import type { Tell } from './local-server.js';
import { packageRoot } from './package-root.js';

/** What is installed on demand: a folder here with package.json and lock, copied to the cache and filled by `npm ci`. */
export interface PackageSet {
  readonly folder: 'clickhouse' | 'postgres';
  /** As a person calls it: `ClickHouse 26.7`. */
  readonly label: string;
  readonly megabytes: number;
  /** A file that must be there afterwards, relative to the installation; without it the platform has no such package. */
  readonly proof: string;
  /** Work that npm leaves undone, since install scripts are not run. */
  readonly finish?: (directory: string) => void;
  /** A program and its arguments, relative to the installation, that runs only when what was installed is whole. */
  readonly trial: (directory: string) => readonly [string, ...string[]];
}

export interface InstallOptions {
  /** `cacheDirectory` unless told. */
  readonly cache?: string;
  /** Gives up installing, and leaves nothing half done. */
  readonly signal?: AbortSignal;
  readonly log: Tell;
}

const PROGRESS_EVERY_MS = 10_000;
const INSTALL_MS_MAX = 15 * 60_000;

/** Where on-demand installations live: $WALHOUSE_CACHE, $XDG_CACHE_HOME/walhouse or ~/.cache/walhouse. */
export function cacheDirectory(env: NodeJS.ProcessEnv): string {
  if (env.WALHOUSE_CACHE) return resolve(env.WALHOUSE_CACHE);
  return join(env.XDG_CACHE_HOME ? resolve(env.XDG_CACHE_HOME) : join(homedir(), '.cache'), 'walhouse');
}

/**
 * Installs a package set unless it is installed, and returns its directory. Safe beside other processes that do the
 * same: one installs, the others wait. The directory appears under its name only when it is complete.
 */
export async function install(packages: PackageSet, options: InstallOptions): Promise<string> {
  const cache = options.cache ?? cacheDirectory(process.env);
  const tell = options.log;
  const template = join(packageRoot(), 'src', 'dev', 'servers', 'packages', packages.folder);
  const name = `${packages.folder}-${process.platform}-${process.arch}-${fingerprint(template)}`;
  const directory = join(cache, name);
  if (existsSync(directory)) return directory;
  try {
    mkdirSync(cache, { recursive: true });
  } catch (cause) {
    throw failed(
      packages,
      `${cache} cannot be made.`,
      'set WALHOUSE_CACHE to a directory that may be written to.',
      cause,
    );
  }
  const release = await acquireLock(join(cache, `${name}.lock`), {
    signal: options.signal,
    onWait: () => tell(`waiting for another process that installs ${packages.label}`),
  });
  try {
    if (existsSync(directory)) return directory;
    removeLeftovers(cache, name);
    const unfinished = join(cache, `${name}.${process.pid}.unfinished`);
    try {
      tell(
        `installing ${packages.label} (about ${packages.megabytes} MB on disk, usually under a minute) into ${cache}`,
      );
      const startedAt = Date.now();
      requireSpace(packages, cache);
      cpSync(template, unfinished, { recursive: true });
      await npmCi(packages, unfinished, options);
      requireProof(packages, unfinished);
      packages.finish?.(unfinished);
      await tryOut(packages, unfinished);
      renameSync(unfinished, directory);
      tell(`installed ${packages.label} in ${Math.ceil((Date.now() - startedAt) / 1000)} s`);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      throw error;
    }
    return directory;
  } finally {
    release();
  }
}

/** Changes whenever a file of the template does, so that an upgrade installs anew and never mixes versions. */
function fingerprint(template: string): string {
  const hash = createHash('sha256');
  for (const file of readdirSync(template).sort()) {
    if (file === 'node_modules') continue;
    hash
      .update(file)
      .update('\0')
      .update(readFileSync(join(template, file)))
      .update('\0');
  }
  return hash.digest('hex').slice(0, 12);
}

function removeLeftovers(cache: string, name: string): void {
  for (const entry of readdirSync(cache)) {
    if (entry.startsWith(`${name}.`) && entry.endsWith('.unfinished')) {
      rmSync(join(cache, entry), { recursive: true, force: true });
    }
  }
}

async function npmCi(packages: PackageSet, directory: string, options: InstallOptions): Promise<void> {
  // Under `npm run` the very npm that runs us is known; elsewhere it is on the path.
  const npm = process.env.npm_execpath;
  const [command, first] =
    npm !== undefined && /npm-cli\.c?js$/.test(npm) ? [process.execPath, [npm]] : ['npm', []];
  const args = [
    ...first,
    'ci',
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--include=optional',
  ];
  const startedAt = Date.now();
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    options.log(`still installing ${packages.label} (${seconds} s)`);
  }, PROGRESS_EVERY_MS);
  try {
    const result = await run(command, args, directory, options.signal);
    options.signal?.throwIfAborted();
    if (result.code !== 0) {
      const space = /ENOSPC|no space left/i.test(result.output);
      const detail = result.output
        .split('\n')
        .filter((line) => line.trim() !== '')
        .slice(0, 6)
        .join(' | ');
      throw failed(
        packages,
        `npm ci ended with ${result.code === null ? 'no exit code' : `exit code ${result.code}`}: ${detail.slice(0, 600)}`,
        space
          ? `free ${packages.megabytes} MB, or set WALHOUSE_CACHE to a directory on another disk.`
          : 'check that this machine reaches the npm registry, then start again.',
      );
    }
  } finally {
    clearInterval(timer);
  }
}

function run(
  command: string,
  args: string[],
  cwd: string,
  signal: AbortSignal | undefined,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env };
    // Set by an outer `npm run` or `npm install --global`; they would make npm work on that folder instead of this one.
    for (const key of [
      'npm_config_local_prefix',
      'npm_config_prefix',
      'npm_config_global',
      'npm_config_workspace',
    ]) {
      delete env[key];
    }
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: INSTALL_MS_MAX,
      ...(signal === undefined ? {} : { signal }),
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-8192);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (error) => resolve({ code: null, output: error.message }));
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** npm has been seen to succeed on a full disk, with files cut off; so the space is looked at first. */
function requireSpace(packages: PackageSet, cache: string): void {
  const { bavail, bsize } = statfsSync(cache);
  const freeMegabytes = Math.floor((bavail * bsize) / 1e6);
  if (freeMegabytes >= packages.megabytes) return;
  throw failed(
    packages,
    `It needs ${packages.megabytes} MB and there are ${freeMegabytes} MB free for ${cache}.`,
    'free some space, or set WALHOUSE_CACHE to a directory on another disk.',
  );
}

async function tryOut(packages: PackageSet, directory: string): Promise<void> {
  const [command, ...args] = packages.trial(directory);
  const { code, output } = await run(command, args, directory, undefined);
  if (code === 0) return;
  throw failed(
    packages,
    `What npm installed does not run: ${output.trim().slice(-300) || 'it ended without a word.'}`,
    'is the disk full, or the C library too old? Otherwise use servers of your own and name their addresses in walhouse.yaml.',
  );
}

function requireProof(packages: PackageSet, directory: string): void {
  if (existsSync(join(directory, packages.proof))) return;
  throw failed(
    packages,
    `there is no package of it for ${process.platform} on ${process.arch}.`,
    'use servers of your own and name their addresses in walhouse.yaml.',
  );
}

function failed(packages: PackageSet, why: string, fix: string, cause?: unknown): WalhouseError {
  return new WalhouseError('local_install_failed', {
    what: `${packages.label} could not be installed.`,
    why,
    fix,
    cause,
  });
}
