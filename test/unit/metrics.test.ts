import { readFileSync } from 'node:fs';
import { Registry } from 'prom-client';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiMetrics } from '../../src/api/metrics.js';
import { addProcessMetrics } from '../../src/ops/metrics/process.js';
import { addStandingMetrics } from '../../src/ops/metrics/standing.js';
import { addTraceMetrics } from '../../src/ops/metrics/traces.js';
import { addWorkMetrics } from '../../src/ops/metrics/work.js';
import type { StatusDocument, TableStatus } from '../../src/ops/status.js';
import type { Meter } from '../../src/pipeline/meter.js';
import {
  DELETE,
  INSERT,
  newReport,
  TRUNCATE,
  UPDATE,
  type TableReport,
} from '../../src/pipeline/table-report.js';
import { STATUS } from './api-fixture.js';

const TABLE = STATUS.tables['public.payments']!;

let registry = new Registry();
afterEach(() => {
  registry = new Registry();
});

/** The series of one metric now. */
async function seriesOf(name: string): Promise<string[]> {
  const text = await registry.metrics();
  return text.split('\n').filter((line) => new RegExp(`^${name}(\\{| )`).test(line));
}

describe('docs/METRICS.md', () => {
  test('has what GET /metrics of the service shows: every name with its kind, its labels and its words, and no other', () => {
    addProcessMetrics(registry, '1.2.3');
    addWorkMetrics(registry, () => new Map());
    addStandingMetrics(registry, () => STATUS);
    addTraceMetrics(registry);
    new ApiMetrics(registry);
    const shown = registry.getMetricsAsArray().map((metric) => {
      const { name, help, labelNames } = metric as unknown as {
        name: string;
        help: string;
        labelNames: string[];
      };
      return [name, metric.constructor.name.toLowerCase(), labelNames.join(' '), help].join(' | ');
    });
    const document = readFileSync(new URL('../../docs/METRICS.md', import.meta.url), 'utf8');
    const told = [...document.matchAll(/^\| `(\w+)` +\| (\w+) +\|([^|]*)\| (\S.*?) *\|$/gm)].map(
      ([, name, kind, labels, help]) =>
        [name, kind, [...labels!.matchAll(/`(\w+)`/g)].map((match) => match[1]).join(' '), help].join(' | '),
    );
    expect(told.sort()).toEqual(shown.sort());
  });

  test('names follow the convention: our prefix, base units, _total for counters alone', () => {
    addWorkMetrics(registry, () => new Map());
    addStandingMetrics(registry, () => STATUS);
    addTraceMetrics(registry);
    new ApiMetrics(registry);
    for (const metric of registry.getMetricsAsArray()) {
      expect(metric.name).toMatch(/^walhouse_[a-z_]+$/);
      expect(metric.name).not.toMatch(/_(ms|millis|milliseconds|minutes|hours|kb|mb|megabytes|percent)(_|$)/);
      expect(metric.name.endsWith('_total'), metric.name).toBe(metric.constructor.name === 'Counter');
    }
  });
});

describe('what stands', () => {
  let status: StatusDocument = STATUS;
  let reads = 0;
  const open = (initial: StatusDocument): void => {
    status = initial;
    reads = 0;
    addStandingMetrics(registry, () => {
      reads += 1;
      return Promise.resolve(status);
    });
  };
  const next = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  test('is read once for one answer, and anew for the next', async () => {
    open(STATUS);
    await registry.metrics();
    expect(reads).toBe(1);
    await next();
    status = { ...STATUS, lag_bytes: 5 };
    expect(await seriesOf('walhouse_lag_bytes')).toEqual(['walhouse_lag_bytes 5']);
    expect(reads).toBe(2);
  });

  test('has the lag in seconds and bytes, 0 among them, and no series where it is not known', async () => {
    open({ ...STATUS, lag_ms: 1_500, lag_bytes: 72 });
    expect(await seriesOf('walhouse_lag_(seconds|bytes)')).toEqual([
      'walhouse_lag_bytes 72',
      'walhouse_lag_seconds 1.5',
    ]);
    await next();
    status = { ...STATUS, lag_ms: 0, lag_bytes: 0 };
    expect(await seriesOf('walhouse_lag_(seconds|bytes)')).toEqual([
      'walhouse_lag_bytes 0',
      'walhouse_lag_seconds 0',
    ]);
    await next();
    status = { ...STATUS, lag_ms: null, lag_bytes: null };
    expect(await seriesOf('walhouse_lag_(seconds|bytes)')).toEqual([]);
  });

  test('has no slot where there is none, and no headroom where nothing limits it', async () => {
    open({ ...STATUS, slot: null });
    expect(await seriesOf('walhouse_slot_\\w+')).toEqual([]);
    await next();
    const warning = { kind: 'slot_endangered', what: 'w', why: 'w', fix: 'f' };
    status = {
      ...STATUS,
      slot: { held_bytes: 9, headroom_bytes: null, wal_status: 'extended', seconds_left: null, warning },
    };
    expect(await seriesOf('walhouse_slot_\\w+')).toEqual([
      'walhouse_slot_held_bytes 9',
      'walhouse_slot_endangered 1',
    ]);
  });

  test('is one state of all, of the service and of each table, and the kind of error alone', async () => {
    const error = { kind: 'slot_lost', what: 'planted.', why: 'planted.', fix: 'planted' };
    open({
      ...STATUS,
      state: 'stopped',
      error,
      tables: { a: TABLE, b: { ...TABLE, state: 'stopped', error } },
    });
    const states = [...(await seriesOf('walhouse_state')), ...(await seriesOf('walhouse_table_state'))];
    expect(states.filter((line) => line.endsWith(' 1'))).toEqual([
      'walhouse_state{state="stopped"} 1',
      'walhouse_table_state{table="a",state="streaming"} 1',
      'walhouse_table_state{table="b",state="stopped"} 1',
    ]);
    expect(states).toHaveLength(10 + 2 * 5);
    expect(await seriesOf('walhouse_(table_)?error')).toEqual([
      'walhouse_error{kind="slot_lost"} 1',
      'walhouse_table_error{table="b",kind="slot_lost"} 1',
    ]);
    expect(await registry.metrics()).not.toContain('planted');
  });

  test('tells how far a snapshot is while it runs, and forgets a table that is configured no more', async () => {
    const running: TableStatus = {
      ...TABLE,
      state: 'snapshotting',
      quarantined: 2,
      snapshot: { rows: 250, percent: 25, seconds_left: 90 },
    };
    open({
      ...STATUS,
      tables: { a: running, b: { ...running, snapshot: { rows: 7, percent: null, seconds_left: null } } },
    });
    expect(await seriesOf('walhouse_snapshot_\\w+')).toEqual([
      'walhouse_snapshot_running_rows{table="a"} 250',
      'walhouse_snapshot_running_rows{table="b"} 7',
      'walhouse_snapshot_progress_ratio{table="a"} 0.25',
      'walhouse_snapshot_remaining_seconds{table="a"} 90',
    ]);
    await next();
    status = { ...STATUS, tables: { b: TABLE } };
    expect(await seriesOf('walhouse_snapshot_\\w+')).toEqual([]);
    expect(await seriesOf('walhouse_quarantined_rows')).toEqual(['walhouse_quarantined_rows{table="b"} 0']);
  });
});

describe('what is done', () => {
  let tables = new Map<string, TableReport>();
  const open = (): Meter => {
    tables = new Map();
    return addWorkMetrics(registry, () => tables);
  };

  test('is changes by table and operation as the reports count them, and rows of whole snapshots apart', async () => {
    open();
    const report = newReport();
    report.changes[INSERT] = 4;
    report.changes[UPDATE] = 3;
    report.changes[DELETE] = 2;
    report.changes[TRUNCATE] = 1;
    report.rowsCopied = 1_000;
    tables.set('public.a', report);
    expect(await seriesOf('walhouse_changes_total')).toEqual([
      'walhouse_changes_total{table="public.a",operation="insert"} 4',
      'walhouse_changes_total{table="public.a",operation="update"} 3',
      'walhouse_changes_total{table="public.a",operation="delete"} 2',
      'walhouse_changes_total{table="public.a",operation="truncate"} 1',
    ]);
    report.changes[INSERT] += 1;
    expect((await seriesOf('walhouse_changes_total'))[0]).toMatch(/ 5$/);
    expect(await seriesOf('walhouse_snapshot_rows_total')).toEqual([
      'walhouse_snapshot_rows_total{table="public.a"} 1000',
    ]);
    tables.delete('public.a');
    expect(await seriesOf('walhouse_changes_total')).toEqual([]);
  });

  test('is batches by size and duration', async () => {
    const meter = open();
    meter.stored({ rows: 1, bytes: 100, seconds: 0.004 });
    meter.stored({ rows: 90_000, bytes: 17_000_000, seconds: 2 });
    expect(await seriesOf('walhouse_batch_\\w+_(sum|count)')).toEqual([
      'walhouse_batch_rows_sum 90001',
      'walhouse_batch_rows_count 2',
      'walhouse_batch_bytes_sum 17000100',
      'walhouse_batch_bytes_count 2',
      'walhouse_batch_duration_seconds_sum 2.004',
      'walhouse_batch_duration_seconds_count 2',
    ]);
    expect(await registry.metrics()).toContain('walhouse_batch_rows_bucket{le="50000"} 1');
  });

  test('is retries by reason, there at 0 before the first', async () => {
    const meter = open();
    const before = await seriesOf('walhouse_retries_total');
    expect(before.length).toBeGreaterThan(5);
    for (const line of before) expect(line).toMatch(/ 0$/);
    meter.retried('sink_timeout');
    expect((await seriesOf('walhouse_retries_total')).filter((line) => !line.endsWith(' 0'))).toEqual([
      'walhouse_retries_total{reason="sink_timeout"} 1',
    ]);
  });
});
