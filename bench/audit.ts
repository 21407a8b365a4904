import { startClickHouse } from '../src/dev/servers/clickhouse.js';
import { silentLog } from '../src/pipeline/log.js';
import type { Column, Relation } from '../src/pipeline/relation.js';
import { tupleOf } from '../src/pipeline/tuple.js';
import { createSinkClient } from '../src/sink/client.js';
import { openSink } from '../src/sink/sink.js';

/**
 * What history costs: `node --import tsx bench/audit.ts [ROWS]`. The same changes, ROWS inserts and as many updates of a status, are stored with
 * history and without it; then every table is merged into one part, and its bytes on disk are divided by the changes. Prints a line each.
 */
const ROWS = Number(process.argv[2] ?? 50_000);
const BATCH = 5_000;

const column = (name: string, type: string, modifier = -1): Column => ({
  name,
  type: { name: type, kind: 'base', modifier, text: type },
  notNull: true,
  generated: false,
  comment: null,
});
const relation = (name: string): Relation => ({
  oid: name.length,
  schema: 'public',
  name,
  id: `public.${name}`,
  columns: [
    column('payment_id', 'int8'),
    column('merchant_id', 'int8'),
    column('customer_id', 'int8'),
    column('amount', 'numeric', ((12 << 16) | 2) + 4),
    column('method', 'text'),
    column('status', 'text'),
    column('payment_date', 'timestamptz'),
  ],
  key: [0],
  replicaIdentity: 'full',
  comment: null,
});

const clickhouse = await startClickHouse({ log: (line) => console.error(line) });
const client = createSinkClient({ url: clickhouse.url });
let inserts = 0;
const insert = client.insert.bind(client);
client.insert = (params) => {
  inserts += 1;
  return insert(params);
};
try {
  for (const history of [false, true]) {
    const table = relation(history ? 'with_history' : 'plain');
    const tables = new Map([[table.id, { history }]]);
    const sink = openSink({ client, database: 'bench_audit', tables, marts: [], log: silentLog });
    await sink.open();
    const writer = await sink.beginSnapshot(table, 0x1000n);
    await writer.flush(true);
    await sink.endSnapshot(table, 0x1000n);
    inserts = 0;
    const row = (i: number, status: string) => {
      const at = new Date(1_700_000_000_000 + i * 1000).toISOString().replace('T', ' ').replace('Z', '+00');
      const cents = String((i * 7919) % 100).padStart(2, '0');
      return tupleOf([
        `${i}`,
        `${i % 500}`,
        `${(i * 31) % 9973}`,
        `${(i * 104729) % 5000}.${cents}`,
        'Visa',
        status,
        at,
      ]);
    };
    const began = performance.now();
    for (let from = 0; from < 2 * ROWS; from += BATCH) {
      const batch = sink.openBatch();
      for (let i = from; i < Math.min(from + BATCH, 2 * ROWS); i += 1) {
        const commitLsn = BigInt(0x2000 + i * 64);
        batch.begin({ commitLsn, committedAtUs: 1_795_251_599_962_001n + BigInt(i) * 1000n, xid: 700 + i });
        if (i < ROWS) batch.insert(table, row(i, 'Pending'), 1);
        else
          batch.update(table, row(i - ROWS, 'Pending'), row(i - ROWS, i % 20 === 0 ? 'Rejected' : 'Paid'), 1);
      }
      await sink.store(batch);
    }
    const seconds = (performance.now() - began) / 1000;
    const stored = inserts;
    const changes = 2 * ROWS;
    const names = [
      table.name,
      ...(history ? [`_walhouse_audit_${table.name}`, `_walhouse_versions_${table.name}`] : []),
    ];
    const bytes: Record<string, number> = {};
    for (const name of names) {
      await client.command({ query: `optimize table bench_audit_landing.\`${name}\` final` });
      const result = await client.query({
        query: `select sum(bytes_on_disk) as bytes from system.parts where active and database = 'bench_audit_landing' and table = '${name}'`,
        format: 'JSONEachRow',
      });
      const [found] = await result.json<{ bytes: string }>();
      bytes[name] = Math.round((Number(found!.bytes) / changes) * 10) / 10;
    }
    console.log(
      JSON.stringify({
        history,
        changes,
        insertsPerBatch: stored / (changes / BATCH),
        bytesPerChange: bytes,
        seconds,
      }),
    );
    await sink.close();
  }
} finally {
  await client.close();
  await clickhouse.close();
}
