import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { startClickHouse } from '../src/dev/servers/clickhouse.js';
import { startPostgres } from '../src/dev/servers/postgres.js';
import { silentLog } from '../src/pipeline/log.js';
import { measureLatency } from './latency.js';
import { CHANGES, createTable, writeChanges } from './workload.js';

/**
 * `npm run bench`: throughput against the fastest consumer that only counts bytes, freshness under a light load, and memory.
 * Every figure and its limit come from the same run on the same servers; quote the ratios, not the absolute numbers.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const DECODERS = ['pgoutput', 'wal2json'] as const;
const run = promisify(execFile);

async function child(script: string, ...args: string[]): Promise<Record<string, number>> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const { stdout } = await run(process.execPath, ['--import', 'tsx', path, ...args], { timeout: 600_000 });
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

const tell = (line: string): void => console.error(line);
const perSecond = (seconds: number): number => Math.round(CHANGES / seconds);

const postgres = await startPostgres({ log: tell });
const clickhouse = await startClickHouse({ log: tell });
const client = new pg.Client({ connectionString: postgres.url });
await client.connect();
try {
  tell(
    `Postgres ${postgres.version}, ClickHouse ${clickhouse.version}, ${CHANGES} changes, ${ROUNDS} rounds`,
  );
  await createTable(client);
  const decoders = DECODERS.filter((decoder) => decoder === 'pgoutput' || postgres.hasWal2json);
  for (const decoder of decoders) {
    for (let round = 1; round <= ROUNDS; round += 1) {
      const slot = `bench_${decoder}_${round}`;
      await child('./replicating.ts', postgres.url, clickhouse.url, slot, decoder, slot, 'snapshot');
    }
    await client.query('select pg_create_logical_replication_slot($1, $2)', [
      `bench_drop_${decoder}`,
      decoder,
    ]);
  }
  tell('writing the changes');
  await writeChanges(client);
  const target = (await client.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn'))
    .rows[0]!.lsn;
  await client.query('checkpoint');
  const throughput = [];
  for (const decoder of decoders) {
    const rounds = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      const slot = `bench_${decoder}_${round}`;
      const drop = `bench_drop_${decoder}`;
      const read = await child('./dropping.ts', postgres.url, drop, decoder, 'read', String(CHANGES));
      const gulp = await child('./dropping.ts', postgres.url, drop, decoder, 'gulp', String(CHANGES));
      const own = await child('./replicating.ts', postgres.url, clickhouse.url, slot, decoder, slot, target);
      const limit = Math.min(read['seconds']!, gulp['seconds']!);
      rounds.push({
        dropRead: perSecond(read['seconds']!),
        dropGulp: perSecond(gulp['seconds']!),
        walhouse: perSecond(own['seconds']!),
        ratio: limit / own['seconds']!,
        cpuSeconds: own['cpuSeconds']!,
        peakMb: own['peakMb']!,
      });
      tell(`${decoder} round ${round}: ${JSON.stringify(rounds.at(-1))}`);
    }
    throughput.push({
      decoder,
      ratio: Number(median(rounds.map((r) => r.ratio)).toFixed(2)),
      limit: median(rounds.map((r) => Math.max(r.dropRead, r.dropGulp))),
      walhouse: median(rounds.map((r) => r.walhouse)),
      cpuSeconds: median(rounds.map((r) => r.cpuSeconds)),
      peakMb: Math.max(...rounds.map((r) => r.peakMb)),
    });
  }
  for (const decoder of decoders) {
    await client.query('select pg_drop_replication_slot($1)', [`bench_drop_${decoder}`]);
    for (let round = 1; round <= ROUNDS; round += 1) {
      await client.query('select pg_drop_replication_slot($1)', [`bench_${decoder}_${round}`]);
    }
  }
  const latency = await measureLatency({
    postgresUrl: postgres.url,
    clickhouseUrl: clickhouse.url,
    log: silentLog,
  });
  console.log(JSON.stringify({ changes: CHANGES, rounds: ROUNDS, throughput, latency }, null, 2));
} finally {
  await client.end();
  await clickhouse.close();
  await postgres.close();
}
