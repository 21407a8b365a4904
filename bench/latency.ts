import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createPaymentsTraffic } from '../src/dev/payments/generator.js';
import type { Log } from '../src/pipeline/log.js';

const RATE = 500;
const PORT = 18_765;
const SAMPLES = Number(process.env['BENCH_SAMPLES'] ?? 400);

export interface Latency {
  readonly changesPerSecond: number;
  readonly samples: number;
  /** From the moment `commit` returned to an answer of the API that contains the payment. */
  readonly commitToAnswerMs: { readonly p50: number; readonly p99: number };
  /** The same question with no position demanded. */
  readonly plainAnswerMs: { readonly p50: number; readonly p99: number };
  readonly peakMb: number;
}

/** The whole service under a steady load; one caller who commits a payment and at once asks for an answer that contains it. */
export async function measureLatency(options: {
  postgresUrl: string;
  clickhouseUrl: string;
  log: Log;
}): Promise<Latency> {
  const { traffic } = createPaymentsTraffic({
    url: options.postgresUrl,
    seed: 7,
    ratePerSecond: RATE,
    log: options.log,
    initial: { merchants: 500, payments: 200_000, days: 60 },
  });
  await traffic.load();
  const directory = mkdtempSync(join(tmpdir(), 'walhouse-bench-'));
  const path = join(directory, 'walhouse.yaml');
  const url = `http://127.0.0.1:${PORT}`;
  writeFileSync(
    path,
    JSON.stringify({
      source: { url: options.postgresUrl, slot: 'bench_latency', publication: 'bench_latency' },
      sink: { url: options.clickhouseUrl, database: 'bench_latency' },
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
      },
      marts: ['payments'],
      api: { listen: `127.0.0.1:${PORT}` },
    }),
  );
  // A process of its own, as it is run; the traffic and the caller are this one.
  const service = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'run', '--config', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const client = new pg.Client({ connectionString: options.postgresUrl });
  await client.connect();
  try {
    while (!(await isReady(url))) await sleep(50);
    await traffic.start();
    await sleep(2_000);
    const merchants = await client.query<{ id: string }>(
      'select merchant_id::text id from merchants limit 200',
    );
    const demanded: number[] = [];
    const plain: number[] = [];
    let id = 9_000_000_000;
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const merchant = merchants.rows[randomInt(merchants.rows.length)]!.id;
      id += 1;
      await client.query(
        `insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
         values ($1, $2, 1, 1.00, 'Visa', 'Pending', now(), now())`,
        [id, merchant],
      );
      const committedAt = performance.now();
      const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text lsn');
      await ask(`${url}/v1/merchants/${merchant}/risk?min_lsn=${rows[0]!.lsn}&wait_ms=5000`);
      demanded.push(performance.now() - committedAt);
      const askedAt = performance.now();
      await ask(`${url}/v1/merchants/${merchant}/risk`);
      plain.push(performance.now() - askedAt);
      await sleep(randomInt(5, 40));
    }
    return {
      changesPerSecond: RATE,
      samples: SAMPLES,
      commitToAnswerMs: percentiles(demanded),
      plainAnswerMs: percentiles(plain),
      peakMb: peakMb(service.pid!),
    };
  } finally {
    await client.end();
    await traffic.stop();
    service.kill('SIGTERM');
    await once(service, 'exit');
    rmSync(directory, { recursive: true });
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}

/** The largest resident size so far, as Linux counts it. */
function peakMb(pid: number): number {
  const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Math.round(Number(found?.[1] ?? 0) / 1024);
}

async function ask(url: string): Promise<void> {
  const response = await fetch(url);
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${text}`);
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number =>
    Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!.toFixed(1));
  return { p50: at(0.5), p99: at(0.99) };
}
