import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createPaymentsTraffic } from '../src/dev/payments/generator.js';
import { startClickHouse } from '../src/dev/servers/clickhouse.js';
import { startPostgres } from '../src/dev/servers/postgres.js';
import { silentLog } from '../src/pipeline/log.js';
import { Walhouse } from '../test/support/walhouse.js';

/**
 * `npm run bench -- whale`: how much longer the seven-day question about a merchant with a million payments in its window takes than that
 * about one with a hundred, asked in turn through the API, while the source is written to, also to both of them.
 */
const WHALE_PAYMENTS = Number(process.env['BENCH_WHALE_PAYMENTS'] ?? 1_000_000);
const SAMPLES = Number(process.env['BENCH_SAMPLES'] ?? 300);
const RATE = 200;
const WHALE = 900_001;
const SHRIMP = 900_002;

const tell = (line: string): void => console.error(line);
const postgres = await startPostgres({ log: tell });
const clickhouse = await startClickHouse({ log: tell });
const client = new pg.Client({ connectionString: postgres.url });
await client.connect();
const { traffic } = createPaymentsTraffic({
  url: postgres.url,
  seed: 7,
  ratePerSecond: RATE,
  log: silentLog,
  initial: { merchants: 500, payments: 200_000, days: 60 },
});
const walhouse = new Walhouse({
  postgresUrl: postgres.url,
  clickhouseUrl: clickhouse.url,
  database: 'whale',
  slot: 'whale',
  tables: {
    'public.merchants': {},
    'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
  },
  marts: ['payments'],
});

async function ask(merchant: number): Promise<{ ms: number; count: number }> {
  const from = performance.now();
  const response = await fetch(`${walhouse.url}/v1/merchants/${merchant}/risk`);
  const answer = (await response.json()) as { total: { count: number } };
  if (!response.ok) throw new Error(JSON.stringify(answer));
  return { ms: performance.now() - from, count: answer.total.count };
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10;
  return { p50: at(0.5), p99: at(0.99) };
}

try {
  await traffic.load();
  for (const [merchant, payments, first] of [
    [WHALE, WHALE_PAYMENTS, 10_000_000],
    [SHRIMP, 100, 90_000_000],
  ]) {
    await client.query(`insert into merchants (merchant_id, name, ingestion_date) values ($1, 'x', now())`, [
      merchant,
    ]);
    await client.query(
      `insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
       select $3::bigint + i, $1::bigint, i % 1000, 0.01 * (1 + i % 9999), 'Visa', case when i % 20 = 0 then 'Rejected' else 'Paid' end,
              now() - random() * interval '6 days 20 hours', now()
       from generate_series(1, $2::bigint) i`,
      [merchant, payments, first],
    );
  }
  tell('snapshot');
  await walhouse.start();
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text lsn');
  await walhouse.applied(rows[0]!.lsn);
  await traffic.start();
  await sleep(5_000);
  const times = { whale: [] as number[], shrimp: [] as number[] };
  let counts = { whale: 0, shrimp: 0 };
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    for (const merchant of [WHALE, SHRIMP])
      await client.query(
        `insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
         values ($1, $2, 1, 1.00, 'Visa', 'Pending', now())`,
        [100_000_000 + 2 * sample + (merchant === WHALE ? 0 : 1), merchant],
      );
    const whale = await ask(WHALE);
    const shrimp = await ask(SHRIMP);
    times.whale.push(whale.ms);
    times.shrimp.push(shrimp.ms);
    counts = { whale: whale.count, shrimp: shrimp.count };
    await sleep(20);
  }
  const [whale, shrimp] = [percentiles(times.whale), percentiles(times.shrimp)];
  console.log(
    JSON.stringify({
      writesPerSecond: RATE,
      samples: SAMPLES,
      payments: counts,
      whaleMs: whale,
      shrimpMs: shrimp,
      ratio: { p50: whale.p50 / shrimp.p50, p99: whale.p99 / shrimp.p99 },
    }),
  );
} finally {
  await traffic.stop().catch(() => undefined);
  await walhouse.close();
  await client.end();
  await clickhouse.close();
  await postgres.close();
}
