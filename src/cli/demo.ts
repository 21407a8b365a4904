import { createWriteStream, mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { pino } from 'pino';
import { PaymentsGenerator } from '../dev/payments/generator.js';
import { startClickHouse } from '../dev/servers/clickhouse.js';
import { requireFreePort } from '../dev/servers/ports.js';
import { startPostgres } from '../dev/servers/postgres.js';
import { LiveTraffic, type Generator, type TrafficReport } from '../dev/traffic.js';
import { compareMart } from '../ops/compare/compare-mart.js';
import { compareRisk } from '../ops/compare/risk.js';
import { compareTable, type TableComparison } from '../ops/compare/compare-table.js';
import { readComparedRelation } from '../ops/compare/relation.js';
import { rowsApplied } from '../pipeline/table-report.js';
import { createSinkClient } from '../sink/client.js';
import { tableName } from '../sink/names.js';
import { parseConfig, type Config } from './config.js';
import { readDomains, type Domain } from './domain.js';
import { startService, type Service } from './service.js';

export interface DemoOptions {
  /** One domain's name, or `all`. */
  readonly domain: string;
  /** Stops by itself and compares; without it, Ctrl-C ends it. */
  readonly seconds?: number;
  /** Transactions a second, of all domains together. */
  readonly rate: number;
  readonly seed: number;
  /** Where the API listens, 0 for a free port; left out, 8080 where that is free. */
  readonly port?: number;
}

const DATABASE = 'shop';
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
  const domains = await readDomains(options.domain);
  const logs = mkdtempSync(join(tmpdir(), 'walhouse-demo-'));
  // Last of all, and kept where somebody may want to read it.
  const forgetLogs = (): void => void cleanUp.unshift(() => rm(logs, { recursive: true, force: true }));
  try {
    const code = await runDemo(options, domains, join(logs, 'demo.log'), stopping.signal, cleanUp);
    if (code === 0) forgetLogs();
    return code;
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    forgetLogs();
    return 0;
  } finally {
    for (const step of cleanUp.reverse())
      await step().catch((error: unknown) => say(`closing: ${String(error)}`));
  }
}

/** A domain at work. */
interface Played {
  readonly domain: Domain;
  readonly generator: Generator;
  readonly traffic: LiveTraffic;
}

async function runDemo(
  options: DemoOptions,
  domains: readonly Domain[],
  logPath: string,
  stop: AbortSignal,
  cleanUp: (() => Promise<unknown>)[],
): Promise<number> {
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
  const played = domains.map((domain): Played => {
    const generator = domain.generator.createGenerator({ seed });
    const ratePerSecond = Math.max(1, rate / domains.length);
    return {
      domain,
      generator,
      traffic: new LiveTraffic(generator, { url: postgres.url, seed, ratePerSecond, log }),
    };
  });
  let trafficEnded = false;
  cleanUp.push(async () =>
    trafficEnded ? undefined : Promise.all(played.map(({ traffic }) => traffic.stop())),
  );
  for (const { domain, traffic } of played) {
    say(`loading the rows of ${domain.title.toLowerCase()} into Postgres`);
    await traffic.load();
  }

  const config = await demoConfig(options, domains, postgres.url, clickhouse.url);
  const service = await startService(config, log);
  let finished = false;
  void service.finished.catch(() => {}).finally(() => (finished = true));
  cleanUp.push(() => service.close());
  say('copying them into ClickHouse from the slot’s snapshot');
  while (service.replicator?.consistent === false) {
    if (stop.aborted) return 0;
    if (finished) await service.finished;
    await sleep(20);
  }
  for (const { traffic } of played) await traffic.start();
  tellWhereToLook(service, played, clickhouse.url, postgres.url, logPath, options);

  const endAt = options.seconds === undefined ? Infinity : performance.now() + options.seconds * 1000;
  while (performance.now() < endAt && !stop.aborted && !finished) {
    const left = Math.min(STATUS_EVERY_MS, endAt - performance.now());
    await sleep(left, undefined, { signal: stop }).catch(() => {});
    if (!stop.aborted) tellProgress(service);
  }
  if (finished) await service.finished;
  if (stop.aborted) return 0;

  trafficEnded = true;
  const reports = await Promise.all(played.map(({ traffic }) => traffic.stop()));
  say();
  played.forEach(({ domain }, index) => tellTraffic(domain, reports[index]!, seed));
  return compareAll(service, config, played, postgres.url, clickhouse.url);
}

async function demoConfig(
  options: DemoOptions,
  domains: readonly Domain[],
  postgresUrl: string,
  clickhouseUrl: string,
): Promise<Config> {
  const port = options.port ?? (await requireFreePort(USUAL_PORT, 'the API').catch(() => 0));
  const text = JSON.stringify({
    source: { url: postgresUrl },
    sink: { url: clickhouseUrl, database: DATABASE },
    tables: Object.assign({}, ...domains.map(({ tables }) => tables)) as unknown,
    marts: domains.map(({ name }) => name),
    api: { listen: `127.0.0.1:${port}` },
  });
  return parseConfig(text, 'the demo', {});
}

function tellWhereToLook(
  service: Service,
  played: readonly Played[],
  clickhouseUrl: string,
  postgresUrl: string,
  logPath: string,
  options: DemoOptions,
): void {
  const payments = paymentsOf(played);
  const { domain } = played[0]!;
  const view = payments === null ? (domain.oracles[0]?.mart ?? viewOf(Object.keys(domain.tables)[0]!)) : null;
  const question =
    view === null
      ? 'select status, count(), sum(amount) from shop.payments group by 1'
      : `select * from ${DATABASE}.${view} limit 5`;
  say();
  say(`Postgres now gets ${options.rate} transactions a second, and ClickHouse follows. Look at:`);
  say();
  say(`  dashboard   ${service.url}/`);
  if (payments !== null)
    say(`  the answer  curl -s ${service.url}/v1/merchants/${payments.largestMerchantId() ?? 1n}/risk`);
  say(`  how far     curl -s ${service.url}/v1/replication`);
  say(`  SQL         curl -s '${clickhouseUrl}' --data-binary '${question} format PrettyCompact'`);
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
  const rows = [...tables.values()].reduce((sum, table) => sum + rowsApplied(table), 0);
  say(`${state}, ${progress.lagMs ?? '?'} ms behind, ${rows.toLocaleString('en')} rows and changes applied`);
}

function tellTraffic(domain: Domain, report: TrafficReport, seed: number): void {
  say(
    `The traffic of ${domain.title.toLowerCase()} made ${report.transactions} transactions with ${report.rows} row changes (seed ${seed}):`,
  );
  say(
    `  ${Object.entries(report.operations)
      .map(([kind, count]) => `${kind.replaceAll('_', ' ')} ${count}`)
      .join(', ')}`,
  );
}

/** Everything against Postgres, at the position at which the traffic ended. */
async function compareAll(
  service: Service,
  config: Config,
  played: readonly Played[],
  postgresUrl: string,
  clickhouseUrl: string,
): Promise<number> {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  const clickhouse = createSinkClient({ url: clickhouseUrl });
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
    const tell = (found: TableComparison): void => {
      equal &&= found.equal;
      const verdict = found.equal
        ? 'equal, value for value'
        : `NOT EQUAL: ${found.missing} missing, ${found.extra} extra, ${found.different} different, e.g. ${JSON.stringify(found.samples)}`;
      say(
        `  ${found.table.padEnd(30)} ${found.rowsPostgres.toLocaleString('en').padStart(9)} rows  ${verdict}`,
      );
    };
    for (const [id, { retention }] of Object.entries(config.tables)) {
      const relation = await readComparedRelation(client, ...split(id));
      const view = { database: DATABASE, name: viewOf(id) };
      tell(await compareTable({ postgres: client, clickhouse, relation, view, retention }));
    }
    for (const { domain } of played)
      for (const { mart, sql } of domain.oracles)
        tell(await compareMart(client, clickhouse, { database: DATABASE, name: mart }, sql));
    const payments = paymentsOf(played);
    if (payments !== null) {
      const merchantIds = [...payments.touchedMerchants];
      const risk = await compareRisk({ apiUrl: service.url, postgres: client, merchantIds, at, minLsn: lsn });
      equal &&= risk.equal;
      say(
        `  ${'seven-day numbers'.padEnd(30)} ${String(risk.compared).padStart(4)} merchants  ${
          risk.equal
            ? `equal, to the cent (${risk.withPayments} with payments in the window)`
            : `NOT EQUAL: ${JSON.stringify(risk.differences.slice(0, 3))}`
        }`,
      );
    }
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

/** The one whose question the API answers. */
function paymentsOf(played: readonly Played[]): PaymentsGenerator | null {
  for (const { generator } of played) if (generator instanceof PaymentsGenerator) return generator;
  return null;
}

function viewOf(id: string): string {
  return tableName(...split(id));
}

function split(id: string): [schema: string, name: string] {
  const dot = id.indexOf('.');
  return [id.slice(0, dot), id.slice(dot + 1)];
}
