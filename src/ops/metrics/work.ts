import { Counter, Histogram, type Registry } from 'prom-client';
import { ERROR_POLICY, type ErrorKind } from '../../pipeline/errors.js';
import type { Meter } from '../../pipeline/meter.js';
import { OPERATIONS, type TableReport } from '../../pipeline/table-report.js';

/** By table id. */
type Counted = ReadonlyMap<string, Pick<TableReport, 'changes' | 'rowsCopied'>>;

/**
 * What the replicator does, counted: once a batch or a retry as it happens; rows by what it counts anyway, when somebody asks.
 * `tables`: none in an instance that only reads.
 */
export function addWorkMetrics(registry: Registry, tables: () => Counted): Meter {
  const registers = [registry];
  new Counter({
    name: 'walhouse_changes_total',
    help: 'Row changes taken from the stream, by table and operation; those that are delivered again count again.',
    labelNames: ['table', 'operation'],
    registers,
    collect() {
      this.reset();
      for (const [table, { changes }] of tables())
        OPERATIONS.forEach((operation, place) => this.inc({ table, operation }, changes[place]));
    },
  });
  new Counter({
    name: 'walhouse_snapshot_rows_total',
    help: 'Rows of snapshots that were completed, by table.',
    labelNames: ['table'],
    registers,
    collect() {
      this.reset();
      for (const [table, { rowsCopied }] of tables()) this.inc({ table }, rowsCopied);
    },
  });
  const rows = new Histogram({
    name: 'walhouse_batch_rows',
    help: 'Rows in a batch that was stored.',
    buckets: [1, 10, 100, 1_000, 10_000, 50_000, 100_000, 200_000],
    registers,
  });
  const bytes = new Histogram({
    name: 'walhouse_batch_bytes',
    help: 'Bytes of a batch that was stored, as they are sent.',
    buckets: [1_024, 10_240, 102_400, 1_048_576, 4_194_304, 16_777_216, 33_554_432, 268_435_456],
    registers,
  });
  const duration = new Histogram({
    name: 'walhouse_batch_duration_seconds',
    help: 'From the first insert of a batch to the end of the last, trying again included.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers,
  });
  const retries = new Counter({
    name: 'walhouse_retries_total',
    help: 'Failures that pass by themselves and were tried again, by kind.',
    labelNames: ['reason'],
    registers,
  });
  // So that the first one is an increase.
  for (const [reason, policy] of Object.entries(ERROR_POLICY))
    if (policy === 'retry') retries.inc({ reason }, 0);
  return {
    stored(batch): void {
      rows.observe(batch.rows);
      bytes.observe(batch.bytes);
      duration.observe(batch.seconds);
    },
    retried(reason: ErrorKind): void {
      retries.inc({ reason });
    },
  };
}
