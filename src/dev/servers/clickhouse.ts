import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import { clickHouseConfig } from './clickhouse-config.js';
import { openDataDirectory, type DataDirectory } from './data-directory.js';
import { install, type InstallOptions, type PackageSet } from './install.js';
import type { LocalServer, Tell } from './local-server.js';
import { rememberPorts, requireFreePort, usualPort } from './ports.js';
import { died, waitUntilReady } from './readiness.js';
import { asStartFailure } from './start-failure.js';
import { supervise, type Supervised } from './supervisor.js';

const PACKAGES: PackageSet = {
  folder: 'clickhouse',
  label: 'ClickHouse 26.7',
  megabytes: 550,
  proof: `node_modules/@chdb/lib-${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}/libchdb.so`,
  trial: (directory) => [process.execPath, join(directory, 'host.cjs'), '--query', 'select 1'],
};

const READY_MS_MAX = 60_000;
const PROBE_MS_MAX = 5_000;
/**
 * At its end the engine waits five seconds for clients that keep idle connections. Killing it earlier loses nothing: what an
 * insert has confirmed is in files by then, which outlive the process.
 */
const STOP_SECONDS_KEPT = 2;
const CONFIG_FOLDER = 'config';
/** A free port may be taken between choosing and using it. */
const PORT_ATTEMPTS_MAX = 3;

/** Serves until standard input, which is a pipe from us, closes. Who gets an answer over HTTP knows that both listen. */
const SERVE = `system start listen tcp; system start listen http; select * from file('-', 'LineAsString') format Null`;

export interface ClickHouseOptions {
  /** Where data stays; left out, it is temporary. */
  readonly dir?: string;
  readonly httpPort?: number;
  readonly tcpPort?: number;
  /** A ClickHouse configuration file that is merged over ours (macros, clusters, users). */
  readonly configFile?: string;
  /** The server's time zone; UTC unless told. */
  readonly timezone?: string;
  readonly cache?: string;
  /** Gives up starting; a server that has started is stopped by `close`. */
  readonly signal?: AbortSignal;
  readonly log: Tell;
}

export interface LocalClickHouse extends LocalServer {
  readonly httpPort: number;
  /** The native protocol. */
  readonly tcpPort: number;
}

/** Makes sure that the engine is installed, so that a later start does not take a minute. */
export function installClickHouse(options: InstallOptions): Promise<string> {
  return install(PACKAGES, options);
}

/**
 * Starts a ClickHouse on 127.0.0.1 and resolves when it answers. It takes the user `default` without a password.
 * Errors: `local_install_failed`, `local_port_taken`, `local_data_unusable`, `local_start_failed`.
 */
export async function startClickHouse(options: ClickHouseOptions): Promise<LocalClickHouse> {
  for (const port of [options.httpPort, options.tcpPort]) {
    if (port !== undefined) await requireFreePort(port, 'ClickHouse');
  }
  const installation = await installClickHouse(options);
  for (let attempt = 1; ; attempt++) {
    const directory = openDataDirectory('ClickHouse', options.dir, null);
    try {
      return await startIn(directory, installation, options);
    } catch (error) {
      directory.discard();
      const ours = options.httpPort === undefined && options.tcpPort === undefined;
      const taken = error instanceof WalhouseError && error.kind === 'local_port_taken';
      if (!ours || !taken || attempt === PORT_ATTEMPTS_MAX)
        throw asStartFailure('ClickHouse', directory, error);
    }
  }
}

async function startIn(
  directory: DataDirectory,
  installation: string,
  options: ClickHouseOptions,
): Promise<LocalClickHouse> {
  const httpPort = options.httpPort ?? (await usualPort(directory, 'http'));
  const tcpPort = options.tcpPort ?? (await usualPort(directory, 'tcp'));
  const instance = randomUUID();
  const config = writeConfig(directory.path, instance, options.configFile);
  const supervised = await supervise({
    command: process.execPath,
    args: [
      join(installation, 'host.cjs'),
      ...['--config-file', config],
      ...['--path', join(directory.path, 'data')],
      ...['--listen_host', '127.0.0.1'],
      ...['--http_port', String(httpPort)],
      ...['--tcp_port', String(tcpPort)],
      ...['--query', SERVE],
    ],
    env: {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: directory.path,
      LANG: 'C.UTF-8',
      TZ: options.timezone ?? 'UTC',
    },
    workingDirectory: directory.path,
    logFile: join(directory.path, 'output.log'),
    account: null,
    stopSignal: directory.temporary ? 'KILL' : 0,
    stopSeconds: directory.temporary ? 0 : STOP_SECONDS_KEPT,
    scratchDirectory: directory.temporary ? directory.path : null,
  });
  const version = await waitUntilReady({
    server: 'ClickHouse',
    directory,
    supervised,
    timeoutMs: READY_MS_MAX,
    signal: options.signal,
    probe: () => askVersion(httpPort, instance),
  });
  rememberPorts(directory, { http: httpPort, tcp: tcpPort });
  removeOtherConfigs(directory.path, instance);
  return server(supervised, directory, { httpPort, tcpPort, version });
}

function server(
  supervised: Supervised,
  directory: DataDirectory,
  facts: { httpPort: number; tcpPort: number; version: string },
): LocalClickHouse {
  let closing = false;
  return {
    ...facts,
    url: `http://127.0.0.1:${facts.httpPort}`,
    pid: supervised.pid,
    directory: directory.path,
    ended: supervised.exited.then((how) =>
      closing ? null : died('ClickHouse', how, directory, supervised.logTail()),
    ),
    close: async () => {
      closing = true;
      await supervised.stop();
      directory.discard();
    },
  };
}

/**
 * Writes our configuration and puts the caller's where the server merges it over ours. Each start has a folder of its
 * own, so that one that is refused because another server runs here leaves that one's files alone.
 */
function writeConfig(directory: string, instance: string, extra: string | undefined): string {
  const folder = join(directory, CONFIG_FOLDER, instance);
  mkdirSync(join(folder, 'config.d'), { recursive: true });
  const file = join(folder, 'config.xml');
  writeFileSync(file, clickHouseConfig({ directory, instance }));
  if (extra !== undefined) copyFileSync(extra, join(folder, 'config.d', 'given.xml'));
  return file;
}

/** Once we serve, the folder is ours alone, and what earlier starts left can go. */
function removeOtherConfigs(directory: string, instance: string): void {
  for (const entry of readdirSync(join(directory, CONFIG_FOLDER))) {
    if (entry !== instance) rmSync(join(directory, CONFIG_FOLDER, entry), { recursive: true, force: true });
  }
}

/** The version, or null while this very server does not answer: something else may listen on the port. */
function askVersion(port: number, instance: string): Promise<string | null> {
  const query = `select version() where getMacro('walhouse_instance') = '${instance}'`;
  return new Promise((resolve) => {
    const call = request(
      {
        host: '127.0.0.1',
        port,
        path: `/?query=${encodeURIComponent(query)}`,
        // A kept connection would hold up the server's end.
        agent: false,
        timeout: PROBE_MS_MAX,
      },
      (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('error', () => resolve(null));
        response.on('end', () => resolve(response.statusCode === 200 ? body.trim() || null : null));
      },
    );
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(null));
    call.end();
  });
}
