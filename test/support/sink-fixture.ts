import type { ClickHouseClient } from '@clickhouse/client';
import { silentLog } from '../../src/pipeline/log.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Batch, Checkpoint, Sink } from '../../src/pipeline/sink.js';
import { createSinkClient } from '../../src/sink/client.js';
import { openSink, type SinkOptions } from '../../src/sink/sink.js';
import { createDatabases, type TestDatabases } from './servers.js';
import { tupleOf, type Text } from './tuples.js';

/** One change of a made-up transaction. */
export type Change =
  | { readonly op: 'insert'; readonly relation: Relation; readonly row: Row }
  | { readonly op: 'update'; readonly relation: Relation; readonly old: Row | null; readonly row: Row }
  | { readonly op: 'delete'; readonly relation: Relation; readonly old: Row }
  | { readonly op: 'truncate'; readonly relation: Relation };
export type Row = Readonly<Record<string, Text>>;

/** For `attach`, where it does not matter when. */
export const ANY_MOMENT = { applied: 0n, seen: 0n };

/** Everything before `appliedLsn` is stored. */
export function checkpointAt(appliedLsn: bigint): Checkpoint {
  return {
    identity: { systemIdentifier: '7300000000000000001', timeline: 1, database: 'shop' },
    slot: 'walhouse',
    appliedLsn,
    committedAtUs: null,
    exact: [],
    lagMs: 0,
  };
}

export interface TestTransaction {
  readonly commitLsn: bigint;
  readonly changes: readonly Change[];
}

/** A sink of its own over the run's ClickHouse, fed by hand. */
export interface SinkFixture {
  readonly databases: TestDatabases;
  readonly client: ClickHouseClient;
  readonly database: string;
  readonly landing: string;
  open(options?: Partial<Pick<SinkOptions, 'tables' | 'marts' | 'masker' | 'client'>>): Promise<Sink>;
  /** The same, without a word to the server yet. */
  unopened(options?: Partial<Pick<SinkOptions, 'tables' | 'marts' | 'masker' | 'client'>>): Sink;
  /** Rows of a query on ClickHouse. */
  query<T = Record<string, unknown>>(sql: string): Promise<T[]>;
  close(): Promise<void>;
}

export async function sinkFixture(name: string): Promise<SinkFixture> {
  const databases = await createDatabases(name);
  const client = createSinkClient({ url: databases.clickhouseUrl });
  const database = databases.clickhouseDatabase;
  const sinks: Sink[] = [];
  const unopened: SinkFixture['unopened'] = (options = {}) => {
    const sink = openSink({ client, database, tables: new Map(), marts: [], log: silentLog, ...options });
    sinks.push(sink);
    return sink;
  };
  return {
    databases,
    client,
    database,
    landing: `${database}_landing`,
    unopened,
    async open(options = {}) {
      const sink = unopened(options);
      await sink.open();
      return sink;
    },
    query: (sql) => databases.clickhouse(sql),
    async close() {
      for (const sink of sinks) await sink.close();
      await client.close();
      await databases.close();
    },
  };
}

/** Snapshots a relation with the given rows. */
export async function snapshot(
  sink: Sink,
  relation: Relation,
  consistentPoint: bigint,
  rows: readonly Row[],
) {
  const writer = await sink.beginSnapshot(relation, consistentPoint);
  for (const row of rows) writer.add(tupleOf(relation, row));
  await writer.flush(true);
  await sink.endSnapshot(relation, consistentPoint);
}

export function fill(batch: Batch, transaction: TestTransaction): void {
  batch.begin({ commitLsn: transaction.commitLsn, committedAtUs: 1_795_251_599_962_001n, xid: 7 });
  transaction.changes.forEach((change, index) => {
    const { relation } = change;
    const ordinal = index + 1;
    switch (change.op) {
      case 'insert':
        return batch.insert(relation, tupleOf(relation, change.row), ordinal);
      case 'update':
        return batch.update(
          relation,
          change.old === null ? null : tupleOf(relation, change.old),
          tupleOf(relation, change.row),
          ordinal,
        );
      case 'delete':
        return batch.delete(relation, tupleOf(relation, change.old), ordinal);
      case 'truncate':
        return batch.truncate(relation, ordinal);
    }
  });
}

/** Stores transactions, all in one batch. */
export async function apply(sink: Sink, ...transactions: readonly TestTransaction[]): Promise<void> {
  const batch = sink.openBatch();
  for (const transaction of transactions) fill(batch, transaction);
  await sink.store(batch);
}
