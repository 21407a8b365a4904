import type { Socket } from 'node:net';
import { Client, Pool, type ClientConfig } from 'pg';
import { endsWithin } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import { tlsOptions, type Tls } from '../pipeline/tls.js';
import { sourceError } from './source-error.js';
import { isLocal, takeTls } from './tls.js';

/**
 * Settings that change the text of values or end a session, pinned on every connection, the replication one
 * included: Postgres formats values in the session that sends them, whatever the role or database has set.
 */
const SESSION_SETTINGS: Readonly<Record<string, string>> = {
  TimeZone: 'UTC',
  DateStyle: 'ISO,MDY',
  IntervalStyle: 'postgres',
  extra_float_digits: '1',
  bytea_output: 'hex',
  client_encoding: 'UTF8',
  standard_conforming_strings: 'on',
  search_path: 'pg_catalog',
  client_min_messages: 'warning',
  lc_monetary: 'C',
  statement_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  // Exists since Postgres 14, the oldest that is supported.
  idle_session_timeout: '0',
  // A session whose client is gone, where the network does not say so, gives up its locks and its slot after 11 s.
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
};

/** Long enough for a migration to let go of its table, short enough that somebody hears of it. */
const LOCK_TIMEOUT = '60s';

const CONNECT_TIMEOUT_MS = 10_000;
const KEEPALIVE_DELAY_MS = 10_000;
/** Longer than any statement may wait for a lock; what takes longer has lost its connection. */
const QUERY_TIMEOUT_MS = 90_000;
const POOL_GOODBYE_MS = 2_000;

/** Where we connect to, as it may be shown: no password. */
export interface Target {
  readonly host: string;
  readonly database: string;
  readonly user: string;
}

/** Reads the URL; throws `config_invalid` without repeating it, since it may hold a password. */
export function parseTarget(url: string): Target {
  const parsed = parseUrl(url);
  const user = decodeURIComponent(parsed.username);
  return {
    host: `${hostOf(parsed)}${parsed.port === '' ? '' : `:${parsed.port}`}`,
    database: decodeURIComponent(parsed.pathname.slice(1)) || user,
    user,
  };
}

function parseUrl(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new WalhouseError('config_invalid', {
      what: 'source.url is not a postgres:// URL.',
      why: 'Walhouse cannot tell which server to read from.',
      fix: 'set source.url to postgres://USER:PASSWORD@HOST:PORT/DATABASE',
    });
  }
  return parsed;
}

/** As `pg` reads it: the last of several parameters wins over the host of the URL. */
function hostOf(parsed: URL): string {
  return parsed.searchParams.getAll('host').at(-1) || decodeURIComponent(parsed.hostname) || 'localhost';
}

/** How a connection to this URL is protected, and whether that is less than it should be. Throws `config_invalid` as connecting would. */
export function protectionOf(url: string): { readonly tls: Tls | 'off'; readonly warning: string | null } {
  const parsed = parseUrl(url);
  const host = hostOf(parsed);
  const tls = takeTls(parsed, host);
  if (isLocal(host)) return { tls, warning: null };
  if (tls === 'off')
    return { tls, warning: `the connection to Postgres at ${host} is not encrypted (source.tls is off)` };
  const unverified = tls.verify === 'none';
  return {
    tls,
    warning: unverified
      ? `nobody verifies that Postgres at ${host} is the one (source.tls.verify is none)`
      : null,
  };
}

export type ConnectionKind = 'sql' | 'replication';

/** What every connection to the source is made with: where it is, protected as the URL says. Throws `config_invalid`. */
export function serverConfig(url: string): ClientConfig {
  const parsed = parseUrl(url);
  const host = hostOf(parsed);
  const tls = takeTls(parsed, host);
  // Said always: `pg` would take the host and TLS from the environment where nothing is said.
  if (tls === 'off') parsed.searchParams.delete('sslnegotiation');
  parsed.searchParams.set('host', host.replace(/^\[(.+)\]$/, '$1'));
  return {
    connectionString: parsed.href,
    ssl: tls === 'off' ? false : tlsOptions(tls, 'source'),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_DELAY_MS,
  };
}

/** As `serverConfig`, with every session setting pinned. */
export function clientConfig(url: string, kind: ConnectionKind): ClientConfig {
  const parsed = parseUrl(url);
  // A new slot waits, through locks, for every transaction that is open, however long that takes.
  const settings = { ...SESSION_SETTINGS, lock_timeout: kind === 'sql' ? LOCK_TIMEOUT : '0' };
  const pinned = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  // Last one wins, so what the URL asks for cannot undo what is pinned.
  const options = [parsed.searchParams.get('options') ?? '', ...pinned].join(' ').trim();
  parsed.searchParams.set('options', options);
  if (!parsed.searchParams.has('application_name')) parsed.searchParams.set('application_name', 'walhouse');
  return serverConfig(parsed.href);
}

/** Opens one connection; rejects with a WalhouseError. */
export async function connect(url: string, kind: ConnectionKind): Promise<Client> {
  const target = parseTarget(url);
  const config = clientConfig(url, kind);
  const client = new Client(
    kind === 'sql' ? config : ({ ...config, replication: 'database' } as ClientConfig),
  );
  // A connection that breaks while nobody waits on it must not end the process; the next query on it fails.
  client.on('error', () => {});
  try {
    await client.connect();
    await relax(client);
    return client;
  } catch (error) {
    destroy(client);
    throw sourceError(error, target, 'connect');
  }
}

/** A small pool for catalog queries; connections that broke are replaced. */
export function openPool(url: string): Pool {
  const pool = new Pool({
    ...clientConfig(url, 'sql'),
    max: 2,
    idleTimeoutMillis: 60_000,
    query_timeout: QUERY_TIMEOUT_MS,
  });
  pool.on('error', () => {});
  // One that is lent out and breaks between two queries tells nobody else; the next query on it fails.
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** Ends the pool; a query that a silent network keeps from its answer is not waited for. */
export async function closePool(pool: Pool): Promise<void> {
  const ended = pool.end();
  if (await endsWithin(POOL_GOODBYE_MS, ended)) return;
  for (const client of (pool as unknown as { readonly _clients: Client[] })._clients)
    socketOf(client).destroy();
  await endsWithin(POOL_GOODBYE_MS, ended);
}

/** Settings that older servers do not know, so they cannot be asked for at start-up. */
export async function relax(client: Client): Promise<void> {
  const version = await client.query<{ server_version_num: string }>('show server_version_num');
  if (Number(version.rows[0]!.server_version_num) >= 170_000)
    await client.query('set transaction_timeout = 0');
}

interface Wired {
  readonly connection: { readonly stream: Socket };
}

/** The socket under a client; `pg` does not type it, but backpressure and a prompt end need it. */
export function socketOf(client: Client): Socket {
  return (client as unknown as Wired).connection.stream;
}

/** Ends a connection now, whatever it is doing. */
export function destroy(client: Client): void {
  socketOf(client).destroy();
  client.end().catch(() => {});
}

/** Quotes an identifier for SQL and for replication commands alike. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a string for replication commands, whose grammar knows no escapes but the doubled quote. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
