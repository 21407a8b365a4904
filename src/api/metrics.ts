import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/**
 * The API's own metrics, made once for a process: an API may give way to one with another configuration. Labels are bounded: routes as
 * they are written, never addresses or ids.
 */
export class ApiMetrics {
  /** What `GET /metrics` shows. */
  readonly registry: Registry;
  readonly #requests: Counter<'route' | 'method' | 'status'>;
  readonly #duration: Histogram<'route'>;
  readonly #queries: Counter<'lane' | 'outcome'>;
  readonly #sharing: Histogram<'lane'>;

  readonly #waiting: (() => number)[] = [];

  constructor(registry: Registry) {
    this.registry = registry;
    const registers = [registry];
    const waiting = (): number => this.#waiting.reduce((sum, count) => sum + count(), 0);
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

  /** Look-ups that wait there are counted too: those of an API that has given way still come to their answers. */
  watchWaiting(waiting: () => number): void {
    this.#waiting.push(waiting);
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
