import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { createApi } from '../api/api.js';
import { parseKeys } from '../api/keys.js';
import type { Positions } from '../api/positions.js';
import { notTheWriter } from '../api/failures.js';
import { ClickHouseRisk } from '../api/risk-clickhouse.js';
import { serveApi } from '../api/serve.js';
import { positionsOf } from '../ops/positions.js';
import { SourceSightings } from '../ops/source-sightings.js';
import type { StatusDocument } from '../ops/status.js';
import { statusOf } from '../ops/status-of.js';
import { StoredPositions } from '../ops/stored-positions.js';
import type { Log } from '../pipeline/log.js';
import { Replicator } from '../pipeline/replicator.js';
import type { Sink } from '../pipeline/sink.js';
import type { Source } from '../pipeline/source.js';
import { createSinkClient } from '../sink/client.js';
import { loadMarts } from '../sink/marts.js';
import { openSink } from '../sink/sink.js';
import { openSource } from '../source/source.js';
import { backgroundVerify } from './background-verify.js';
import { listenAddress, type Config } from './config.js';

/** A batch goes at the latest when it holds this much; the next fills meanwhile. */
const LIMITS = { batchRowsMax: 100_000, batchBytesMax: 16 * 1024 * 1024 };
const SQL = fileURLToPath(new URL('../../clickhouse', import.meta.url));
/** Where the risk question's tables are, whatever else is configured. */
const PAYMENTS = 'public.payments';
/** What its answers are made from; they do not depend on how other tables stand. */
const RISK_TABLES = ['public.merchants', PAYMENTS];

export interface Service {
  /** Where the API listens. */
  readonly url: string;
  /** null in an instance that only reads. */
  readonly replicator: Replicator | null;
  /** Resolves after `close`; rejects when the service was refused before it ever streamed. */
  readonly finished: Promise<void>;
  /** Finishes what it took on, confirms it, and stops. */
  close(): Promise<void>;
}

/**
 * Puts the rooms together as the configuration says. The API listens at once and answers 503 until it knows better. With `apiOnly`
 * it reads what another instance stores, and writes nothing on either side.
 */
export async function startService(
  config: Config,
  log: Log,
  options: { readonly apiOnly?: boolean } = {},
): Promise<Service> {
  const keys = parseKeys(config.api.keys ?? '');
  const client = createSinkClient(config.sink.url);
  // Questions must not queue behind inserts.
  const askClient = createSinkClient(config.sink.url);
  const sink = makeSink(config, client, log);
  const configured = Object.keys(config.tables);
  const connect = (): Promise<Source> =>
    openSource({ ...config.source, tables: configured, selections: config.tables, log });
  const replicator =
    options.apiOnly === true
      ? null
      : new Replicator({ openSource: connect, sink, slot: config.source.slot, limits: LIMITS, log });
  const stored = new StoredPositions({ sink, log });
  const sightings = new SourceSightings({
    openSource: connect,
    progress: stored.progress,
    isWanted: () => replicator === null || replicator.state === 'standby',
    log,
  });
  const tables = config.marts.includes('payments') ? RISK_TABLES : configured;
  const positions = positionsOf({ replicator, stored, tables });
  /** What changes something is done by the instance that streams. */
  const streaming = (): Replicator => {
    if (replicator !== null && replicator.state !== 'standby') return replicator;
    throw notTheWriter(replicator === null ? 'api_only' : 'standby', stored.owner?.instance ?? null);
  };
  const status = (): StatusDocument =>
    statusOf({ replicator, stored, sink, tables: configured, verified: background?.results });
  const background = replicator === null ? null : backgroundVerify(config, replicator, status, log);
  const api = createApi({
    risk: riskReader(config, askClient, positions),
    positions,
    status,
    control: {
      async resync(table) {
        if (!Object.hasOwn(config.tables, table)) return false;
        await streaming().resync([table], false);
        return true;
      },
      async repair(table, keys) {
        return Object.hasOwn(config.tables, table) ? streaming().repair(table, keys) : null;
      },
      resyncAll: async () => streaming().resync(configured, true),
      pause: async () => streaming().pause(),
      resume: () => streaming().resume(),
    },
    keys,
    log,
  });
  const server = await serveApi(api, listenAddress(config.api.listen));
  log.info({ url: server.url }, 'the API listens');
  stored.start();
  sightings.start();
  background?.start();
  const reading = new AbortController();
  const running = replicator === null ? untilAborted(reading.signal) : replicator.run();
  const finished = running.finally(async () => {
    await server.close();
    await background?.close();
    await sightings.close();
    await stored.close();
    await sink.close();
    await client.close();
    await askClient.close();
  });
  return {
    url: server.url,
    replicator,
    finished,
    async close() {
      await server.close();
      await background?.close();
      await replicator?.close();
      reading.abort();
      await finished;
    },
  };
}

/** The ClickHouse side as configured; talks to no server yet. */
export function makeSink(config: Config, client: ReturnType<typeof createSinkClient>, log: Log): Sink {
  return openSink({
    client,
    database: config.sink.database,
    tables: new Map(Object.entries(config.tables)),
    marts: loadMarts(SQL, config.marts),
    log,
    instance: `${hostname()}:${process.pid} http://${config.api.listen}`,
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function riskReader(config: Config, client: ReturnType<typeof createSinkClient>, positions: Positions) {
  const { database } = config.sink;
  const keep = config.tables[PAYMENTS]?.retention?.keep;
  const query = (name: string): string => readFileSync(`${SQL}/payments/queries/${name}.sql`, 'utf8');
  return new ClickHouseRisk({
    client,
    positions,
    queries: { mart: query('risk'), landing: query('risk_landing') },
    parameters: { database, landing: `${database}_landing` },
    ...(keep === undefined ? {} : { keptFromMs: (nowMs: number) => keptFrom(nowMs, keep) }),
  });
}

/** The moment that `keep` reaches back to, by the calendar in UTC; a day that the month does not have becomes its last. */
function keptFrom(nowMs: number, keep: { count: number; unit: 'day' | 'month' | 'year' }): number {
  const date = new Date(nowMs);
  if (keep.unit === 'day') return nowMs - keep.count * 86_400_000;
  const months = keep.unit === 'year' ? keep.count * 12 : keep.count;
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() - months);
  const daysOfMonth = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, daysOfMonth));
  return date.getTime();
}
