import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import type { Account } from './account.js';
import type { DataDirectory } from './data-directory.js';
import type { PostgresBinaries } from './postgres-binaries.js';
import { startFailure } from './start-failure.js';

const INIT_MS_MAX = 120_000;
export const SUPERUSER = 'postgres';

/** A cluster of our own: the data, and the password that opens it. */
export interface Cluster {
  readonly data: string;
  readonly password: string;
}

/** Where a directory's cluster is. */
export function dataFolder(directory: string): string {
  return join(directory, 'data');
}

/** The major version of the data kept in a directory; null when there is none yet. */
export function keptMajor(directory: string): number | null {
  try {
    return Number.parseInt(readFileSync(join(dataFolder(directory), 'PG_VERSION'), 'utf8'), 10);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES') throw notOurs(directory, error);
    return null;
  }
}

/** Makes the cluster when the directory has none, and makes sure that nobody uses it when it has one. */
export async function openCluster(
  directory: DataDirectory,
  binaries: PostgresBinaries,
  account: Account | null,
): Promise<Cluster> {
  const data = dataFolder(directory.path);
  const passwordFile = join(directory.path, 'password');
  if (keptMajor(directory.path) === null) {
    if (existsSync(data) && readdirSync(data).length > 0) throw notACluster(data);
    await initialize(directory, data, passwordFile, binaries, account);
  } else {
    clearStalePidFile(data);
  }
  try {
    return { data, password: readFileSync(passwordFile, 'utf8').trim() };
  } catch (cause) {
    throw notOurs(directory.path, cause);
  }
}

/** The environment of Postgres's programs: nothing of ours, least of all PGDATA and its kin. */
export function postgresEnvironment(): Record<string, string> {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

async function initialize(
  directory: DataDirectory,
  data: string,
  passwordFile: string,
  binaries: PostgresBinaries,
  account: Account | null,
): Promise<void> {
  // Made under another name, so that being killed here leaves no half cluster that looks like a whole one.
  const unfinished = join(directory.path, 'data.unfinished');
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  writeFileSync(passwordFile, `${randomBytes(18).toString('base64url')}\n`);
  chmodSync(passwordFile, 0o600);
  if (account !== null) {
    chownSync(unfinished, account.uid, account.gid);
    chownSync(passwordFile, account.uid, account.gid);
  }
  const { code, output } = await runAs(
    account,
    join(binaries.bin, 'initdb'),
    [
      ...['--pgdata', unfinished],
      ...['--username', SUPERUSER],
      ...['--pwfile', passwordFile],
      ...['--auth', 'scram-sha-256'],
      ...['--encoding', 'UTF8'],
      ...['--locale', 'C'],
      ...(directory.temporary ? ['--no-sync'] : []),
    ],
    unfinished,
  );
  if (code !== 0) {
    rmSync(unfinished, { recursive: true, force: true });
    throw startFailure('Postgres', directory, `initdb ended with exit code ${code}`, output);
  }
  rmSync(data, { recursive: true, force: true });
  renameSync(unfinished, data);
}

/**
 * Postgres clears away the pid file of a dead server by itself, but takes any living process of the same user that happens to
 * have the old number for the server; in a container, where numbers start over, that is the ordinary case.
 */
function clearStalePidFile(data: string): void {
  const file = join(data, 'postmaster.pid');
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
  } catch {
    return;
  }
  const folder = workingFolder(pid);
  if (folder === realpathSync(data)) {
    throw new WalhouseError('local_data_unusable', {
      what: `another Postgres (process ${pid}) is running in ${data}.`,
      why: "Two servers would destroy each other's data.",
      fix: `stop it (kill -INT ${pid}), or choose another directory.`,
    });
  }
  // Where nothing is known of the process, Postgres decides.
  if (folder !== null) rmSync(file, { force: true });
}

/** Where a process works, which for Postgres is its data; null when it is gone or the system does not say. */
function workingFolder(pid: number): string | null {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return null;
  }
}

function runAs(
  account: Account | null,
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: postgresEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: INIT_MS_MAX,
      ...(account === null ? {} : { uid: account.uid, gid: account.gid }),
    });
    let output = '';
    const collect = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-16384);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.once('error', (error) => resolve({ code: null, output: error.message }));
    child.once('close', (code) => resolve({ code, output }));
  });
}

function notACluster(data: string): WalhouseError {
  return new WalhouseError('local_data_unusable', {
    what: `${data} is not empty and holds no Postgres cluster.`,
    why: 'A cluster would be made there, and nothing that is there is overwritten.',
    fix: 'choose another directory, or empty it.',
  });
}

function notOurs(directory: string, cause: unknown): WalhouseError {
  return new WalhouseError('local_data_unusable', {
    what: `the cluster in ${directory} cannot be opened.`,
    why: 'It was made by another user, or its password file is gone.',
    fix: 'run as the user that made it, or choose another directory.',
    cause,
  });
}
