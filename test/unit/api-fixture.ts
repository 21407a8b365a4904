import { createApi, type ApiOptions } from '../../src/api/api.js';
import type { AppliedPosition, Positions, Unavailable } from '../../src/api/positions.js';
import type { MerchantNumbers, RiskQuestion, RiskReader, RiskResult } from '../../src/api/risk.js';
import { microsFromMs, type Micros } from '../../src/api/timestamp.js';
import type { StatusDocument } from '../../src/ops/status.js';
import type { Log } from '../../src/pipeline/log.js';
import type { Lsn } from '../../src/pipeline/lsn.js';

/** 2026-11-21T09:00:00Z, the clock of these tests. */
export const NOW_MS = Date.UTC(2026, 10, 21, 9);

/** Positions that move when a test says so. */
export class HandPositions implements Positions {
  current: AppliedPosition | null = { lsn: 0x16b3748n, committedAtMs: NOW_MS - 38, lagMs: 38 };
  reason: Unavailable = {
    kind: 'snapshotting',
    what: 'public.payments is being copied.',
    why: 'Its rows are not complete yet.',
    fix: 'wait until the copy is complete',
    retryAfterMs: 4200,
  };
  #waiters: { lsn: Lsn; resolve: (reached: boolean) => void }[] = [];

  get waiters(): number {
    return this.#waiters.length;
  }

  applied(): AppliedPosition | null {
    return this.current;
  }

  unavailable(): Unavailable {
    return this.reason;
  }

  waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.current !== null && this.current.lsn >= lsn) return Promise.resolve(true);
    return new Promise((resolve) => {
      const settle = (reached: boolean): void => {
        clearTimeout(timer);
        this.#waiters = this.#waiters.filter((waiter) => waiter.resolve !== settle);
        resolve(reached);
      };
      const timer = setTimeout(() => settle(false), timeoutMs);
      signal?.addEventListener('abort', () => settle(false), { once: true });
      this.#waiters.push({ lsn, resolve: settle });
    });
  }

  advance(lsn: Lsn): void {
    this.current = {
      lsn,
      committedAtMs: this.current?.committedAtMs ?? null,
      lagMs: this.current?.lagMs ?? 0,
    };
    for (const waiter of [...this.#waiters]) if (waiter.lsn <= lsn) waiter.resolve(true);
  }

  hold<T>(fn: (applied: AppliedPosition | null) => Promise<T>): Promise<T> {
    return fn(this.current);
  }
}

export const NUMBERS: MerchantNumbers = {
  rejectedCount: 3,
  rejectedAmount: '120.50',
  totalCount: 41,
  totalAmount: '9120.10',
};
export const ZEROS: MerchantNumbers = {
  rejectedCount: 0,
  rejectedAmount: '0.00',
  totalCount: 0,
  totalAmount: '0.00',
};

/** A reader over a map, which counts what it is asked; `gate` holds answers back until a test lets them go. */
export class HandReader implements RiskReader {
  readonly asked: {
    ids: readonly bigint[];
    to: Micros | null;
    question: RiskQuestion;
    signal: AbortSignal;
  }[] = [];
  readonly merchants = new Map<bigint, MerchantNumbers>([
    [42n, NUMBERS],
    [43n, ZEROS],
    [9223372036854775807n, ZEROS],
  ]);
  gate: Promise<void> | null = null;
  failure: Error | null = null;
  landing = false;
  /** What else an answer has, whatever was asked. */
  more: Pick<RiskResult, 'byMethod' | 'baseline'> = {};
  readonly #positions: Positions;

  constructor(positions: Positions) {
    this.#positions = positions;
  }

  cost(): 'mart' | 'landing' {
    return this.landing ? 'landing' : 'mart';
  }

  async read(ids: readonly bigint[], question: RiskQuestion, signal: AbortSignal): Promise<RiskResult> {
    const { to, windowUs } = question;
    this.asked.push({ ids, to, question, signal });
    const applied = this.#positions.applied();
    if (applied === null) throw new Error('asked without a position');
    if (this.gate !== null) {
      const aborted = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
      await Promise.race([this.gate, aborted]);
    }
    if (this.failure !== null) throw this.failure;
    const toUs = to ?? microsFromMs(NOW_MS);
    const merchants = new Map<bigint, MerchantNumbers>();
    for (const id of ids) {
      const numbers = this.merchants.get(id);
      if (numbers !== undefined) merchants.set(id, numbers);
    }
    return { applied, takenAtMs: NOW_MS, window: { fromUs: toUs - windowUs, toUs }, merchants, ...this.more };
  }
}

export const STATUS: StatusDocument = {
  state: 'streaming',
  since: '2026-11-21T08:00:00.000Z',
  writer: 'db1:4711 http://127.0.0.1:8080',
  applied_lsn: '0/16B3748',
  confirmed_lsn: '0/16B3700',
  source_lsn: '0/16B3790',
  lag_bytes: 72,
  lag_ms: 38,
  slot: {
    held_bytes: 4_096,
    headroom_bytes: null,
    wal_status: 'reserved',
    seconds_left: null,
    warning: null,
  },
  tables: {
    'public.payments': {
      state: 'streaming',
      rows_applied: 10,
      quarantined: 0,
      error: null,
      snapshot: null,
      verify: null,
    },
  },
  error: null,
  retry_at: null,
};

/** Keeps what is logged, as text. */
export class HandLog implements Log {
  readonly lines: string[] = [];

  debug(fields: object, message: string): void {
    this.lines.push(JSON.stringify({ ...fields, message }));
  }
  info(fields: object, message: string): void {
    this.debug(fields, message);
  }
  warn(fields: object, message: string): void {
    this.debug(fields, message);
  }
  error(fields: object, message: string): void {
    this.debug(fields, message);
  }
}

export function openApi(options: Partial<ApiOptions> = {}) {
  const positions = new HandPositions();
  const reader = new HandReader(positions);
  const log = new HandLog();
  const clock = { nowMs: NOW_MS };
  const app = createApi({
    risk: reader,
    positions,
    status: () => STATUS,
    keys: [],
    log,
    now: () => clock.nowMs,
    ...options,
  });
  const post = (body: unknown, path = '/v1/merchants/risk', headers: Record<string, string> = {}) =>
    app.request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  return { app, positions, reader, log, clock, post };
}

export interface ProblemBody {
  type: string;
  title: string;
  status: number;
  detail: string;
  kind: string;
  fix: string;
  invalid?: { at: string; detail: string }[];
  retry_after_ms?: number;
}

/** Checks that an answer is a whole problem document, and hands it over. */
export async function problemOf(response: Response): Promise<ProblemBody> {
  const type = response.headers.get('content-type');
  if (type !== 'application/problem+json') throw new Error(`not a problem document but ${type}`);
  const body = (await response.json()) as ProblemBody;
  for (const member of ['type', 'title', 'detail', 'kind', 'fix'] as const) {
    if (typeof body[member] !== 'string' || body[member] === '') throw new Error(`no ${member}`);
  }
  if (body.status !== response.status) throw new Error(`status ${body.status} in a ${response.status}`);
  return body;
}
