import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startClickHouse } from '../src/dev/servers/clickhouse.js';
import { startPostgres } from '../src/dev/servers/postgres.js';
import { Proxy } from '../test/support/proxy.js';
import { Walhouse } from '../test/support/walhouse.js';

/**
 * `npm run bench -- memory`: the most memory that the service's process ever had (VmHWM, from Linux's /proc) while
 * each of these happens, in a process of its own: one transaction of millions of rows, one row of 200 MB through the stream and
 * through the snapshot, and a sink that is away for minutes while the source is written to.
 */
const ROWS = Number(process.env['BENCH_MEMORY_ROWS'] ?? 5_000_000);
const ROW_MB = Number(process.env['BENCH_MEMORY_ROW_MB'] ?? 200);
const AWAY_SECONDS = Number(process.env['BENCH_MEMORY_AWAY_SECONDS'] ?? 300);
const ONLY = process.env['BENCH_MEMORY_ONLY'];
const DECODERS = (process.env['BENCH_MEMORY_DECODERS']?.split(',') ?? ['pgoutput', 'wal2json']) as (
  'pgoutput' | 'wal2json'
)[];

const tell = (line: string): void => console.error(line);
const postgres = await startPostgres({ log: tell });
const clickhouse = await startClickHouse({ log: tell });
const proxy = await Proxy.before(clickhouse.url);
const client = new pg.Client({ connectionString: postgres.url });
await client.connect();

type Happening = (walhouse: Walhouse) => Promise<void>;

/** Starts a service over an empty table, lets it happen, waits until it has arrived, and tells the peak. */
async function measure(
  name: string,
  decoder: 'pgoutput' | 'wal2json',
  happens: Happening,
  before = '',
): Promise<void> {
  if (ONLY !== undefined && !name.includes(ONLY)) return;
  await client.query(
    `drop table if exists held; create table held (id bigint primary key, v text, at timestamptz default now()); ${before}`,
  );
  const slot = `memory_${Math.random().toString(36).slice(2, 10)}`;
  const walhouse = new Walhouse({
    postgresUrl: postgres.url,
    clickhouseUrl: proxy.through(clickhouse.url),
    database: slot,
    slot,
    decoder,
    tables: { 'public.held': {} },
  });
  const peakMb = (): number =>
    Math.round(
      Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${walhouse.pid}/status`, 'utf8'))![1]) / 1024,
    );
  const position = async (): Promise<string> =>
    (await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text lsn')).rows[0]!.lsn;
  try {
    await walhouse.start();
    await arrived(walhouse, await position());
    const idleMb = peakMb();
    await happens(walhouse);
    await arrived(walhouse, await position());
    const rows = (await client.query<{ n: string }>('select count(*) n from held')).rows[0]!.n;
    const found = await (
      await fetch(clickhouse.url, { method: 'POST', body: `select count() from ${slot}.held` })
    ).text();
    const outcome = { name, decoder, idleMb, peakMb: peakMb(), rows, equal: found.trim() === rows };
    tell(JSON.stringify(outcome));
    results.push(outcome);
  } finally {
    await walhouse.stop();
    await walhouse.close();
    await client.query(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`,
      [slot],
    );
    await client.query(`drop publication if exists ${slot}`);
  }
}

async function arrived(walhouse: Walhouse, lsn: string): Promise<void> {
  for (
    const until = Date.now() + Number(process.env['BENCH_MEMORY_WAIT_MS'] ?? 600_000);
    Date.now() < until;
  ) {
    const response = await fetch(`${walhouse.url}/v1/replication?min_lsn=${lsn}&wait_ms=5000`).catch(
      () => null,
    );
    if (response?.ok === true) return;
    await sleep(100);
  }
  throw new Error(`${lsn} was not applied\n${walhouse.output.slice(-3000)}`);
}

const results: object[] = [];
const LARGE = `insert into held select 1, string_agg(md5(i::text), '') from generate_series(1, ${ROW_MB} * 1048576 / 32) i`;
try {
  for (const decoder of DECODERS.filter((name) => name === 'pgoutput' || postgres.hasWal2json)) {
    await measure(`a transaction of ${ROWS} rows`, decoder, async () => {
      await client.query(`insert into held select i, 'row ' || i from generate_series(1, ${ROWS}) i`);
    });
    await measure(`a row of ${ROW_MB} MB`, decoder, async () => {
      await client.query(LARGE);
    });
    await measure(`a row of ${ROW_MB} MB in the snapshot`, decoder, async () => undefined, LARGE);
    await measure(`ClickHouse away for ${AWAY_SECONDS} s`, decoder, async () => {
      proxy.become('cut');
      const until = performance.now() + AWAY_SECONDS * 1000;
      for (let id = 0; performance.now() < until; id += 100) {
        await client.query(
          `insert into held select i, repeat('x', 200) from generate_series(${id}, ${id} + 99) i`,
        );
        await sleep(20);
      }
      proxy.become('clear');
    });
  }
  console.log(JSON.stringify(results, null, 2));
} finally {
  await client.end();
  await proxy.close();
  await clickhouse.close();
  await postgres.close();
}
