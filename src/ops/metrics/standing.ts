import { Gauge, type Registry } from 'prom-client';
import { STATES } from '../../pipeline/state.js';
import { TABLE_STATES, type StatusDocument, type TableStatus, type VerifyStatus } from '../status.js';

type ReadStatus = () => StatusDocument | Promise<StatusDocument>;
type Label = 'table' | 'state' | 'kind';
type Set = (labels: Partial<Record<Label, string>>, value: number | null) => void;

/**
 * What the status document says, as gauges: read when somebody asks, once for all of them, so one answer shows one moment. What is not
 * known has no series.
 */
export function addStandingMetrics(registry: Registry, read: ReadStatus): void {
  let reading: Promise<StatusDocument> | null = null;
  const status = (): Promise<StatusDocument> => {
    // All collectors are asked in one turn.
    reading ??= Promise.resolve(read()).finally(() => setImmediate(() => (reading = null)));
    return reading;
  };
  const gauge = (
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (status: StatusDocument, set: Set) => void,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      async collect() {
        const found = await status();
        this.reset();
        if (labelNames.length === 0) this.remove();
        collect(found, (labels, value) => {
          if (value !== null) this.set(labels, value);
        });
      },
    });
  };
  addService(gauge);
  addSlot(gauge);
  addTables(gauge);
}

type AddGauge = (
  name: string,
  help: string,
  labelNames: readonly Label[],
  collect: (status: StatusDocument, set: Set) => void,
) => void;

function addService(gauge: AddGauge): void {
  gauge(
    'walhouse_state',
    '1 for the state that this instance is in, 0 for the others.',
    ['state'],
    (now, set) => {
      for (const state of [...STATES, 'api_only'] as const) set({ state }, now.state === state ? 1 : 0);
    },
  );
  gauge(
    'walhouse_error',
    '1 for the kind of error that keeps the whole from going on; no series while nothing does.',
    ['kind'],
    ({ error }, set) => {
      if (error !== null) set({ kind: error.kind }, 1);
    },
  );
  gauge('walhouse_lag_bytes', 'WAL of the source that is not in ClickHouse yet.', [], (now, set) =>
    set({}, now.lag_bytes),
  );
  gauge(
    'walhouse_lag_seconds',
    'How long ago what is in ClickHouse was known to be all there was; stays near 0 while the source is idle.',
    [],
    (now, set) => set({}, now.lag_ms === null ? null : now.lag_ms / 1000),
  );
}

function addSlot(gauge: AddGauge): void {
  gauge(
    'walhouse_slot_held_bytes',
    'WAL that Postgres keeps for the replication slot.',
    [],
    ({ slot }, set) => set({}, slot?.held_bytes ?? null),
  );
  gauge(
    'walhouse_slot_headroom_bytes',
    'WAL that may still be written before the replication slot is in danger; no series where nothing limits it.',
    [],
    ({ slot }, set) => set({}, slot?.headroom_bytes ?? null),
  );
  gauge(
    'walhouse_slot_endangered',
    '1 while somebody should act before the slot is lost.',
    [],
    ({ slot }, set) => set({}, slot === null ? null : slot.warning === null ? 0 : 1),
  );
}

function addTables(gauge: AddGauge): void {
  const ofTables = (
    name: string,
    help: string,
    valueOf: (table: TableStatus) => number | null | undefined,
  ): void =>
    gauge(name, help, ['table'], ({ tables }, set) => {
      for (const [id, table] of Object.entries(tables)) set({ table: id }, valueOf(table) ?? null);
    });
  const ofVerify = (name: string, help: string, valueOf: (verify: VerifyStatus) => number | null): void =>
    ofTables(name, help, ({ verify }) => (verify === null ? null : valueOf(verify)));

  gauge(
    'walhouse_table_state',
    '1 for the state that a table is in, 0 for the others.',
    ['table', 'state'],
    ({ tables }, set) => {
      for (const [table, found] of Object.entries(tables))
        for (const state of TABLE_STATES) set({ table, state }, found.state === state ? 1 : 0);
    },
  );
  gauge(
    'walhouse_table_error',
    '1 for the kind of error that a table stopped on, or waits for; no series while there is none.',
    ['table', 'kind'],
    ({ tables }, set) => {
      for (const [table, { error }] of Object.entries(tables))
        if (error !== null) set({ table, kind: error.kind }, 1);
    },
  );
  ofTables(
    'walhouse_quarantined_rows',
    'Rows that could not be stored exactly and wait in quarantine.',
    ({ quarantined }) => quarantined,
  );
  ofTables(
    'walhouse_snapshot_running_rows',
    'Rows read so far by the snapshot that runs; no series while none does.',
    ({ snapshot }) => snapshot?.rows,
  );
  ofTables(
    'walhouse_snapshot_progress_ratio',
    "How much of the snapshot that runs is done, from 0 to 1, by the planner's estimate; no series while that says nothing.",
    ({ snapshot }) => (snapshot?.percent == null ? null : snapshot.percent / 100),
  );
  ofTables(
    'walhouse_snapshot_remaining_seconds',
    'How long the snapshot that runs will take at its present rate; no series while that is not known.',
    ({ snapshot }) => snapshot?.seconds_left,
  );
  ofVerify(
    'walhouse_verify_drift_rows',
    'Rows of a table and its marts that were missing, wrong or too much when it was last compared with the source.',
    ({ differences }) => differences,
  );
  ofVerify(
    'walhouse_verify_last_timestamp_seconds',
    'When a table was last compared with the source.',
    ({ at }) => (at === null ? null : Date.parse(at) / 1000),
  );
  ofVerify('walhouse_verify_failing', '1 while the last attempt to compare a table failed.', ({ error }) =>
    error === null ? 0 : 1,
  );
}
