import { createWriteStream, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { createPaymentsTraffic, type Traffic } from '../dev/payments/traffic.js';
import { startClickHouse } from '../dev/servers/clickhouse.js';
import { requireFreePort } from '../dev/servers/ports.js';
import { startPostgres } from '../dev/servers/postgres.js';
import { compareRisk } from '../ops/compare/risk.js';
import { compareTable } from '../ops/compare/compare-table.js';
import { readComparedRelation } from '../ops/compare/relation.js';
import { createSinkClient } from '../sink/client.js';
import { parseConfig } from './config.js';
import { startService, type Service } from './service.js';

export interface DemoOptions {
  /** Stops by itself and compares; without it, Ctrl-C ends it. */
  readonly seconds?: number;
  /** Transactions a second. */
  readonly rate: number;
  readonly seed: number;
  /** Where the API listens, 0 for a free port; left out, 8080 where that is free. */
  readonly port?: number;
}

const DATABASE = 'shop';
const RETENTION = { column: 'payment_date', keep: { count: 2, unit: 'year' } } as const;
const INITIAL = { merchants: 300, payments: 100_000, days: 900 };
const TABLES = ['merchants', 'payments'] as const;
const USUAL_PORT = 8080;
const CATCH_UP_MS = 60_000;
const STATUS_EVERY_MS = 5_000;

const say = (line = ''): void => void process.stdout.write(`${line}\n`);

/**
 * `walhouse demo`: everything on this machine, for as long as it runs. Exit code 0 when everything it compared at its end was
 * equal, or when it was stopped by hand.
 */
export async function demo(options: DemoOptions): Promise<number> {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!stopping.signal.aborted) say('\nstopping');
      stopping.abort();
    });
  }
  const cleanUp: (() => Promise<unknown>)[] = [];
  try {
    return await runDemo(options, stopping.signal, cleanUp);
  } catch (error) {
    if (stopping.signal.aborted) return 0;
    throw error;
  } finally {
    for (const step of cleanUp.reverse())
      await step().catch((error: unknown) => say(`closing: ${String(error)}`));
  }
}

async function runDemo(
  options: DemoOptions,
  stop: AbortSignal,
  cleanUp: (() => Promise<unknown>)[],
): Promise<number> {
  const logPath = join(mkdtempSync(join(tmpdir(), 'walhouse-demo-')), 'demo.log');
  const log = pino({ name: 'walhouse' }, createWriteStream(logPath));

  const postgres = await startPostgres({ log: say, signal: stop });
  cleanUp.push(() => postgres.close());
  say(
    `Postgres ${postgres.version} runs on 127.0.0.1:${postgres.port} (${
      postgres.hasWal2json ? 'with wal2json' : 'without wal2json, so pgoutput decodes'
    })`,
  );
  const clickhouse = await startClickHouse({ log: say, signal: stop });
  cleanUp.push(() => clickhouse.close());
  say(`ClickHouse ${clickhouse.version} runs on 127.0.0.1:${clickhouse.httpPort}`);

  const { rate, seed } = options;
  const traffic = createPaymentsTraffic({ url: postgres.url, seed, ratePerSecond: rate, log });
  let trafficEnded = false;
  cleanUp.push(async () => (trafficEnded ? undefined : traffic.stop()));
  const { merchants, payments, days } = INITIAL;
  say(
    `loading ${payments.toLocaleString('en')} payments of ${merchants} merchants over ${days} days into Postgres`,
  );
  await traffic.loadInitial(INITIAL);

  const service = await startDemoService(options, postgres.url, clickhouse.url, log);
  let finished = false;
  void service.finished.catch(() => {}).finally(() => (finished = true));
  cleanUp.push(() => service.close());
  say('copying them into ClickHouse from the slot’s snapshot');
  while (service.replicator?.consistent === false) {
    if (stop.aborted) return 0;
    if (finished) await service.finished;
    await sleep(20);
  }
  await traffic.start();
  tellWhereToLook(service, traffic, clickhouse.url, postgres.url, logPath, options);

  const endAt = options.seconds === undefined ? Infinity : performance.now() + options.seconds * 1000;
  while (performance.now() < endAt && !stop.aborted && !finished) {
    const left = Math.min(STATUS_EVERY_MS, endAt - performance.now());
    await sleep(left, undefined, { signal: stop }).catch(() => {});
    if (!stop.aborted) tellProgress(service);
  }
  if (finished) await service.finished;
  if (stop.aborted) return 0;

  trafficEnded = true;
  const report = await traffic.stop();
  say();
  say(`The traffic made ${report.transactions} transactions with ${report.rows} row changes (seed ${seed}):`);
  say(
    `  ${Object.entries(report.operations)
      .map(([kind, count]) => `${kind.replaceAll('_', ' ')} ${count}`)
      .join(', ')}`,
  );
  return compareAll(service, postgres.url, clickhouse.url, [...report.touchedMerchants]);
}

async function startDemoService(
  options: DemoOptions,
  postgresUrl: string,
  clickhouseUrl: string,
  log: pino.Logger,
): Promise<Service> {
  const text = JSON.stringify({
    source: { url: postgresUrl },
    sink: { url: clickhouseUrl, database: DATABASE },
    tables: {
      'public.merchants': {},
      'public.payments': {
        retention: { column: RETENTION.column, keep: `${RETENTION.keep.count} ${RETENTION.keep.unit}s` },
      },
    },
    marts: ['payments'],
    api: {
      listen: `127.0.0.1:${options.port ?? (await requireFreePort(USUAL_PORT, 'the API').catch(() => 0))}`,
    },
  });
  return startService(parseConfig(text, 'the demo', {}), log);
}

function tellWhereToLook(
  service: Service,
  traffic: Traffic,
  clickhouseUrl: string,
  postgresUrl: string,
  logPath: string,
  options: DemoOptions,
): void {
  const merchant = traffic.largestMerchantId() ?? 1n;
  say();
  say(`Postgres now gets ${options.rate} transactions a second, and ClickHouse follows. Look at:`);
  say();
  say(`  dashboard   ${service.url}/`);
  say(`  the answer  curl -s ${service.url}/v1/merchants/${merchant}/risk`);
  say(`  how far     curl -s ${service.url}/v1/replication`);
  say(
    `  SQL         curl -s '${clickhouseUrl}' --data-binary 'select status, count(), sum(amount) from shop.payments group by 1 format PrettyCompact'`,
  );
  say(`  the source  psql '${postgresUrl}'`);
  say(`  the log     ${logPath}`);
  say();
  say(
    options.seconds === undefined ? 'Ctrl-C ends it.' : `It ends by itself after ${options.seconds} seconds.`,
  );
  say();
}

function tellProgress(service: Service): void {
  const { progress, tables, state } = service.replicator!;
  const rows = [...tables.values()].reduce((sum, table) => sum + table.rowsApplied, 0);
  say(`${state}, ${progress.lagMs ?? '?'} ms behind, ${rows.toLocaleString('en')} rows and changes applied`);
}

/** Everything against Postgres, at the position at which the traffic ended. */
async function compareAll(
  service: Service,
  postgresUrl: string,
  clickhouseUrl: string,
  merchantIds: readonly bigint[],
): Promise<number> {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  const clickhouse = createSinkClient(clickhouseUrl);
  try {
    const { rows } = await client.query<{ lsn: string; at: string }>(
      `select pg_current_wal_insert_lsn()::text as lsn,
              to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at`,
    );
    const { lsn, at } = rows[0]!;
    const response = await fetch(`${service.url}/v1/replication?min_lsn=${lsn}&wait_ms=30000`, {
      signal: AbortSignal.timeout(CATCH_UP_MS),
    });
    if (!response.ok) {
      say(`ClickHouse did not reach ${lsn}: ${await response.text()}`);
      return 1;
    }
    say(`Comparing ClickHouse with Postgres at ${lsn}:`);
    let equal = true;
    for (const name of TABLES) {
      const relation = await readComparedRelation(client, 'public', name);
      const found = await compareTable({
        postgres: client,
        clickhouse,
        relation,
        view: { database: DATABASE, name },
        ...(name === 'payments' ? { retention: RETENTION } : {}),
      });
      equal &&= found.equal;
      const verdict = found.equal
        ? 'equal, value for value'
        : `NOT EQUAL: ${found.missing} missing, ${found.extra} extra, ${found.different} different, e.g. ${JSON.stringify(found.samples)}`;
      say(
        `  ${found.table.padEnd(18)} ${found.rowsPostgres.toLocaleString('en').padStart(9)} rows  ${verdict}`,
      );
    }
    const risk = await compareRisk({ apiUrl: service.url, postgres: client, merchantIds, at, minLsn: lsn });
    equal &&= risk.equal;
    say(
      `  ${'seven-day numbers'.padEnd(18)} ${String(risk.compared).padStart(4)} merchants  ${
        risk.equal
          ? `equal, to the cent (${risk.withPayments} with payments in the window)`
          : `NOT EQUAL: ${JSON.stringify(risk.differences.slice(0, 3))}`
      }`,
    );
    say(
      equal
        ? 'All equal.'
        : 'NOT all equal: this is a defect of Walhouse; please report it with the seed above.',
    );
    return equal ? 0 : 1;
  } finally {
    await clickhouse.close();
    await client.end();
  }
}
