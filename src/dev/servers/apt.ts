import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Tell } from './local-server.js';

const MINUTES_MAX = 10;
const LOCK_SECONDS_MAX = 120;
/** Packages ask this program whether they may start a service; 101 is no. */
const POLICY_FILE = '/usr/sbin/policy-rc.d';
/** Read by the installation of every Postgres; a file beside the system's own is included by it. */
const CLUSTER_CONFIG = '/etc/postgresql-common/createcluster.d/walhouse.conf';

/** Whether we are root on a Debian or Ubuntu, where Postgres with wal2json can be installed. */
export function canUseApt(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get') && existsSync('/etc/debian_version');
}

/**
 * Installs wal2json for an installed Postgres, or both where `major` is null. No cluster of Debian's own is made or
 * started, and nothing that is installed is upgraded. Returns null, or in a few words why it could not be done.
 */
export async function aptInstallPostgres(major: number | null, tell: Tell): Promise<string | null> {
  tell(
    major === null
      ? 'installing Postgres with wal2json through apt (about 60 MB, usually under a minute)'
      : `installing wal2json for Postgres ${major} through apt (under 1 MB, usually under a minute)`,
  );
  const updated = await apt(['update']);
  // A broken third-party source makes the update fail although what we need can be had: the installation decides.
  if (updated.code !== 0) tell(`apt-get update: ${lastLine(updated.output)}`);

  const version = major ?? (await defaultMajor());
  if (version === null) return 'apt knows no package postgresql';
  const wal2json = `postgresql-${version}-wal2json`;
  if (major !== null) return outcome(await aptInstall([wal2json]));

  const allowClusters = forbidClusters();
  try {
    return outcome(await aptInstall([`postgresql-${version}`, wal2json]));
  } finally {
    allowClusters();
  }
}

/** The version that this release of Debian or Ubuntu stands behind: what its package `postgresql` depends on. */
async function defaultMajor(): Promise<number | null> {
  const { output } = await run('apt-cache', ['depends', 'postgresql']);
  const major = /Depends: postgresql-(\d+)/.exec(output)?.[1];
  return major === undefined ? null : Number(major);
}

/**
 * Keeps Debian from making a cluster of its own and from starting services, until the function that is returned is called.
 * The policy binds only while this process lives, so that being killed here leaves nothing that matters.
 */
function forbidClusters(): () => void {
  const undo: (() => void)[] = [];
  const write = (path: string, content: string, mode: number): void => {
    if (existsSync(path)) return;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    chmodSync(path, mode);
    undo.push(() => rmSync(path, { force: true }));
  };
  write(POLICY_FILE, `#!/bin/sh\nkill -0 ${process.pid} 2>/dev/null && exit 101\nexit 0\n`, 0o755);
  write(
    CLUSTER_CONFIG,
    '# Made by walhouse while it installs Postgres.\ncreate_main_cluster = false\n',
    0o644,
  );
  return () => undo.forEach((step) => step());
}

/** Installs packages; returns null, or in a few words why it could not be done. */
export async function aptInstallPackages(packages: readonly string[]): Promise<string | null> {
  await apt(['update']);
  return outcome(await aptInstall(packages));
}

function aptInstall(packages: readonly string[]): Promise<Finished> {
  return apt(['install', '--yes', '--no-install-recommends', '--no-upgrade', ...packages]);
}

function apt(args: readonly string[]): Promise<Finished> {
  return run('apt-get', ['-q', '-o', `DPkg::Lock::Timeout=${LOCK_SECONDS_MAX}`, ...args]);
}

interface Finished {
  readonly code: number | null;
  readonly output: string;
}

function outcome(finished: Finished): string | null {
  return finished.code === 0 ? null : lastLine(finished.output) || `exit code ${finished.code}`;
}

function lastLine(output: string): string {
  const lines = output.split('\n').filter((line) => line.trim() !== '');
  return (lines.findLast((line) => line.startsWith('E:')) ?? lines.at(-1) ?? '').slice(0, 300);
}

function run(command: string, args: readonly string[]): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: MINUTES_MAX * 60_000,
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
