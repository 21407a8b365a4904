import { join } from 'node:path';
import pg from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import { type Account, closedFolderAbove, needsAccount, serverAccount } from './account.js';
import { aptInstallPostgres, canUseApt } from './apt.js';
import { type DataDirectory, openDataDirectory } from './data-directory.js';
import type { InstallOptions } from './install.js';
import type { LocalServer, Tell } from './local-server.js';
import { rememberPorts, requireFreePort, usualPort } from './ports.js';
import { npmPostgres, type PostgresBinaries, systemPostgres } from './postgres-binaries.js';
import {
  type Cluster,
  dataFolder,
  keptMajor,
  openCluster,
  postgresEnvironment,
  SUPERUSER,
} from './postgres-cluster.js';
import { died, waitUntilReady } from './readiness.js';
import { asStartFailure } from './start-failure.js';
import { supervise, type Supervised } from './supervisor.js';

const READY_MS_MAX = 120_000;
const PROBE_MS_MAX = 5_000;
/** A client that does not read holds up even a fast shutdown; after this it is killed, which Postgres survives. */
const STOP_SECONDS_KEPT = 10;
const STOP_SECONDS_TEMPORARY = 3;
const PORT_ATTEMPTS_MAX = 3;

export type PostgresFlavour = 'system' | 'npm' | 'auto';

export interface PostgresOptions {
  /** Where data stays; left out, it is temporary. */
  readonly dir?: string;
  readonly port?: number;
  /** `auto` takes the system's, installs what is missing where apt can, and falls back to npm's. */
  readonly flavour?: PostgresFlavour;
  /** Server settings over our own, such as `{ wal_sender_timeout: '5s' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly cache?: string;
  /** Gives up starting; a server that has started is stopped by `close`. */
  readonly signal?: AbortSignal;
  readonly log: Tell;
}

export interface LocalPostgres extends LocalServer {
  readonly port: number;
  readonly flavour: 'system' | 'npm';
  readonly hasWal2json: boolean;
}

/** What a source of logical replication needs, and what is right for a small server that only we use. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  // No socket file: nothing to collide on, and no path that may be too long.
  unix_socket_directories: '',
  wal_level: 'logical',
  max_replication_slots: '64',
  max_wal_senders: '64',
  max_connections: '200',
  shared_buffers: '128MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  logging_collector: 'off',
  log_checkpoints: 'off',
  // Statements carry row values, which do not belong in a log.
  log_min_error_statement: 'panic',
};

/** A temporary cluster is gone after a crash anyway, so it need not survive one. */
const TEMPORARY_SETTINGS: Readonly<Record<string, string>> = { fsync: 'off', full_page_writes: 'off' };

/** Makes sure that there is a Postgres to run, so that a later start does not take a minute. */
export async function installPostgres(
  options: InstallOptions & { readonly flavour?: PostgresFlavour },
): Promise<PostgresBinaries> {
  return chooseBinaries(options, null);
}

/**
 * Starts a Postgres of our own on 127.0.0.1 and resolves when it answers. Its superuser has a random password, which
 * the URL holds; with `dir` the password stays with the data. No other cluster of this machine is touched.
 * Errors: `local_install_failed`, `local_port_taken`, `local_data_unusable`, `local_start_failed`.
 */
export async function startPostgres(options: PostgresOptions): Promise<LocalPostgres> {
  if (options.port !== undefined) await requireFreePort(options.port, 'Postgres');
  const { dir } = options;
  // Refuses a directory of no use before anything is installed.
  if (dir !== undefined) openDataDirectory('Postgres', dir, serverAccount(dataFolder(dir)));
  const binaries = await chooseBinaries(options, dir === undefined ? null : keptMajor(dir));
  // Only now, since what was installed may have brought the user `postgres`.
  const account = serverAccount(dir === undefined ? null : dataFolder(dir));
  for (let attempt = 1; ; attempt++) {
    const directory = openDataDirectory('Postgres', dir, account);
    try {
      const cluster = await openCluster(directory, binaries, account);
      return await startIn(directory, cluster, binaries, account, options);
    } catch (error) {
      directory.discard();
      const taken = error instanceof WalhouseError && error.kind === 'local_port_taken';
      if (options.port !== undefined || !taken || attempt === PORT_ATTEMPTS_MAX) {
        throw asStartFailure('Postgres', directory, error);
      }
    }
  }
}

async function chooseBinaries(options: PostgresOptions, major: number | null): Promise<PostgresBinaries> {
  const flavour = options.flavour ?? 'auto';
  const fits = (binaries: PostgresBinaries): boolean => major === null || binaries.major === major;
  if (flavour !== 'npm') {
    const best = systemPostgres().find(fits);
    if (best?.hasWal2json) return best;
    if (canUseApt() && (best !== undefined || major === null)) {
      const problem = await aptInstallPostgres(best?.major ?? null, options.log);
      if (problem !== null) options.log(`apt could not install it (${problem})`);
    }
    const system = systemPostgres().find(fits);
    if (system !== undefined) {
      if (!system.hasWal2json) options.log(`Postgres ${system.version} here has no wal2json: pgoutput it is`);
      return system;
    }
    if (flavour === 'system') {
      throw new WalhouseError('local_start_failed', {
        what: `there is no Postgres${major === null ? '' : ` ${major}`} on this system.`,
        why: "The system's was asked for.",
        fix: 'install it (on Debian: apt-get install postgresql), or let npm bring one (flavour npm).',
      });
    }
    const wanted = major === null ? 'Postgres' : `Postgres ${major}`;
    options.log(`no ${wanted} on this system: taking npm's, which has pgoutput and no wal2json`);
  }
  const binaries = await npmPostgres(options, needsAccount());
  if (!fits(binaries)) {
    throw new WalhouseError('local_data_unusable', {
      what: `the data in ${options.dir} is of Postgres ${major}, and there is only ${binaries.version}.`,
      why: 'A Postgres reads no data of another major version.',
      fix: `choose another directory, or install Postgres ${major}.`,
    });
  }
  const closed = needsAccount() ? closedFolderAbove(binaries.bin) : null;
  if (closed !== null) {
    throw new WalhouseError('local_start_failed', {
      what: `Postgres cannot be run: ${closed} is closed to other users.`,
      why: 'We are root, and Postgres refuses to run as root.',
      fix: `set WALHOUSE_CACHE to a directory that all may enter, or: chmod o+x ${closed}`,
    });
  }
  return binaries;
}

async function startIn(
  directory: DataDirectory,
  cluster: Cluster,
  binaries: PostgresBinaries,
  account: Account | null,
  options: PostgresOptions,
): Promise<LocalPostgres> {
  const port = options.port ?? (await usualPort(directory, 'postgres'));
  const settings = {
    ...SETTINGS,
    ...(directory.temporary ? TEMPORARY_SETTINGS : {}),
    ...options.settings,
    port: String(port),
  };
  const supervised = await supervise({
    command: join(binaries.bin, 'postgres'),
    args: [
      ...['-D', cluster.data],
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    env: postgresEnvironment(),
    workingDirectory: cluster.data,
    logFile: join(directory.path, 'postgres.log'),
    account,
    // Quick where nothing is kept; otherwise a fast shutdown, which writes everything out.
    stopSignal: directory.temporary ? 'QUIT' : 'INT',
    stopSeconds: directory.temporary ? STOP_SECONDS_TEMPORARY : STOP_SECONDS_KEPT,
    scratchDirectory: directory.temporary ? directory.path : null,
  });
  const url = `postgres://${SUPERUSER}:${cluster.password}@127.0.0.1:${port}/postgres`;
  await waitUntilReady({
    server: 'Postgres',
    directory,
    supervised,
    timeoutMs: READY_MS_MAX,
    signal: options.signal,
    probe: () => answers(url),
  });
  rememberPorts(directory, { postgres: port });
  return server(supervised, directory, binaries, { url, port });
}

function server(
  supervised: Supervised,
  directory: DataDirectory,
  binaries: PostgresBinaries,
  address: { url: string; port: number },
): LocalPostgres {
  let closing = false;
  return {
    ...address,
    version: binaries.version,
    flavour: binaries.flavour,
    hasWal2json: binaries.hasWal2json,
    pid: supervised.pid,
    directory: directory.path,
    ended: supervised.exited.then((how) =>
      closing ? null : died('Postgres', how, directory, supervised.logTail()),
    ),
    close: async () => {
      closing = true;
      await supervised.stop();
      directory.discard();
    },
  };
}

/** True once our password opens the server, which tells it from any other; null before. */
async function answers(url: string): Promise<true | null> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: PROBE_MS_MAX });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.end();
    return true;
  } catch {
    return null;
  }
}
