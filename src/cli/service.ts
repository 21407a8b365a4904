import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createApi } from '../api/api.js';
import { parseKeys } from '../api/keys.js';
import type { Positions } from '../api/positions.js';
import { ClickHouseRisk } from '../api/risk-clickhouse.js';
import { serveApi } from '../api/serve.js';
import { positionsOf } from '../ops/positions.js';
import { statusOf } from '../ops/status-of.js';
import type { Log } from '../pipeline/log.js';
import { Replicator } from '../pipeline/replicator.js';
import type { Sink } from '../pipeline/sink.js';
import { createSinkClient } from '../sink/client.js';
import { loadMarts } from '../sink/marts.js';
import { openSink } from '../sink/sink.js';
import { openSource } from '../source/source.js';
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
  readonly replicator: Replicator;
  /** Resolves after `close`; rejects when the service was refused before it ever streamed. */
  readonly finished: Promise<void>;
  /** Finishes what it took on, confirms it, and stops. */
  close(): Promise<void>;
}

/** Puts the rooms together as the configuration says. The API listens at once and answers 503 until it knows better. */
export async function startService(config: Config, log: Log): Promise<Service> {
  const keys = parseKeys(config.api.keys ?? '');
  const client = createSinkClient(config.sink.url);
  // Questions must not queue behind inserts.
  const askClient = createSinkClient(config.sink.url);
  const sink = makeSink(config, client, log);
  const replicator = new Replicator({
    openSource: () => openSource({
        ...config.source,
        tables: Object.keys(config.tables),
        selections: config.tables,
        log,
      }),
    sink,
    slot: config.source.slot,
    limits: LIMITS,
    log,
  });
  const positions = positionsOf(replicator, config.marts.includes('payments') ? RISK_TABLES : undefined);
  const api = createApi({
    risk: riskReader(config, askClient, positions),
    positions,
    status: () => statusOf(replicator, sink),
    control: {
      async resync(table) {
        if (!Object.hasOwn(config.tables, table)) return false;
        await replicator.resync([table], false);
        return true;
      },
      async repair(table, keys) {
        return Object.hasOwn(config.tables, table) ? replicator.repair(table, keys) : null;
      },
      resyncAll: () => replicator.resync(Object.keys(config.tables), true),
      pause: () => replicator.pause(),
      resume: () => replicator.resume(),
    },
    keys,
    log,
  });
  const server = await serveApi(api, listenAddress(config.api.listen));
  log.info({ url: server.url }, 'the API listens');
  const finished = replicator.run().finally(async () => {
    await server.close();
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
      await replicator.close();
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
  });
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
