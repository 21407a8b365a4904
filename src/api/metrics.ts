import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { SlotStatus, StatusDocument, VerifyStatus } from '../ops/status.js';

/** The API's own metrics. Labels are bounded: routes as they are written, never addresses or ids. */
export class ApiMetrics {
  readonly #requests: Counter<'route' | 'method' | 'status'>;
  readonly #duration: Histogram<'route'>;
  readonly #queries: Counter<'lane' | 'outcome'>;
  readonly #sharing: Histogram<'lane'>;

  constructor(registry: Registry, waiting: () => number) {
    const registers = [registry];
    this.#requests = new Counter({
      name: 'walhouse_api_requests_total',
      help: 'Requests answered, by route, method and status.',
      labelNames: ['route', 'method', 'status'],
      registers,
    });
    this.#duration = new Histogram({
      name: 'walhouse_api_request_duration_seconds',
      help: 'From a request to its answer, waiting for min_lsn included.',
      labelNames: ['route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    });
    this.#queries = new Counter({
      name: 'walhouse_api_risk_queries_total',
      help: 'Risk queries sent to ClickHouse, by lane and outcome.',
      labelNames: ['lane', 'outcome'],
      registers,
    });
    this.#sharing = new Histogram({
      name: 'walhouse_api_risk_lookups_per_query',
      help: 'How many look-ups shared one query.',
      labelNames: ['lane'],
      buckets: [1, 2, 4, 8, 16, 32, 64],
      registers,
    });
    new Gauge({
      name: 'walhouse_api_risk_lookups_waiting',
      help: 'Look-ups that wait for their query to be sent.',
      registers,
      collect() {
        this.set(waiting());
      },
    });
  }

  answered(route: string, method: string, status: number, seconds: number): void {
    this.#requests.inc({ route, method, status: String(status) });
    this.#duration.observe({ route }, seconds);
  }

  queried(lane: string, lookups: number, ok: boolean): void {
    this.#queries.inc({ lane, outcome: ok ? 'ok' : 'failed' });
    this.#sharing.observe({ lane }, lookups);
  }
}

/** How much WAL the slot holds back, and how much more there may be; no series where that is not known, or has no limit. */
export function addSlotMetrics(
  registry: Registry,
  status: () => StatusDocument | Promise<StatusDocument>,
): void {
  const gauge = (name: string, help: string, valueOf: (slot: SlotStatus) => number | null): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        this.reset();
        const { slot } = await status();
        const value = slot === null ? null : valueOf(slot);
        if (value === null) this.remove();
        else this.set(value);
      },
    });
  };
  gauge(
    'walhouse_slot_held_bytes',
    'WAL that Postgres keeps for the replication slot.',
    ({ held_bytes: held }) => held,
  );
  gauge(
    'walhouse_slot_headroom_bytes',
    'WAL that may still be written before the replication slot is in danger.',
    ({ headroom_bytes: headroom }) => headroom,
  );
  gauge('walhouse_slot_endangered', '1 while somebody should act before the slot is lost.', ({ warning }) =>
    warning === null ? 0 : 1,
  );
}

/** What the comparison in the background found, by table; as many series as tables are configured. */
export function addVerifyMetrics(
  registry: Registry,
  status: () => StatusDocument | Promise<StatusDocument>,
): void {
  const gauge = (name: string, help: string, valueOf: (verify: VerifyStatus) => number | null): void => {
    new Gauge({
      name,
      help,
      labelNames: ['table'],
      registers: [registry],
      async collect() {
        this.reset();
        for (const [table, { verify }] of Object.entries((await status()).tables)) {
          const value = verify === null ? null : valueOf(verify);
          if (value !== null) this.set({ table }, value);
        }
      },
    });
  };
  gauge(
    'walhouse_verify_drift_rows',
    'Rows of a table and its marts that were missing, wrong or too much when it was last compared with the source.',
    ({ differences }) => differences,
  );
  gauge(
    'walhouse_verify_last_timestamp_seconds',
    'When a table was last compared with the source.',
    ({ at }) => (at === null ? null : Date.parse(at) / 1000),
  );
  gauge('walhouse_verify_failing', '1 while the last attempt to compare a table failed.', ({ error }) =>
    error === null ? 0 : 1,
  );
}
