import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import type { Span } from '../pipeline/tracer.js';
import { versionBound } from '../pipeline/version.js';
import { inTrace } from '../sink/in-trace.js';
import { isBrokenConnection, sinkProblem } from './clickhouse-failure.js';
import type { AppliedPosition, Positions } from './positions.js';
import { Problem } from './problem.js';
import {
  BASELINE_WINDOWS,
  reachUs,
  riskQuestion,
  WINDOW_US,
  type Baseline,
  type LastPayments,
  type MerchantNumbers,
  type MethodNumbers,
  type Payment,
  type PaymentsReader,
  type RiskCost,
  type RiskQuestion,
  type RiskReader,
  type RiskResult,
  type RiskWindow,
} from './risk.js';
import { clickHouseTimestamp, formatTimestamp, microsFromMs, type Micros } from './timestamp.js';

export interface ClickHouseRiskOptions {
  /** A client of its own, so that questions do not queue behind inserts; at least as many connections as queries at once. */
  readonly client: ClickHouseClient;
  readonly positions: Positions;
  /**
   * `rows` defines `known` (merchants) and `payments`, with the parameters `ids Array(Int64)`, `every Bool`, `from` and `to
   * DateTime64(6, 'UTC')`: `mart` from a table that keeps every version, with `version_bound UInt128`; `landing`, which is asked for
   * older windows and while nothing is being stored, from the newest version of each row. The others are what is asked of them.
   */
  readonly queries: RiskQueries;
  /** Further parameters of the queries, such as the databases: `{database:Identifier}`. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** How far back the mart reaches. */
  readonly horizonMs?: number;
  /** The oldest payment_date that retention keeps, at a time; a window that begins before it cannot be answered. */
  readonly keptFromMs?: (nowMs: number) => number;
  readonly now?: () => number;
  /** When ClickHouse gives up on a query by itself. */
  readonly deadlineMs?: Readonly<Record<RiskCost, number>>;
}

export interface RiskQueries {
  readonly rows: { readonly mart: string; readonly landing: string };
  readonly numbers: string;
  readonly byMethod: string;
  readonly peers: string;
  readonly last: string;
}

export const HORIZON_MS = 8 * 24 * 3600 * 1000;
export const DEADLINES_MS = { mart: 2000, pass: 2000, landing: 5000 } as const;

/** The mart drops what is behind its horizon by ClickHouse's clock, which may differ from ours by this much. */
const HORIZON_MARGIN_MS = 10 * 60 * 1000;

const SETTINGS: ClickHouseSettings = {
  // Failures come as a status and not in the middle of an answer.
  wait_end_of_query: 1,
  // Only a read-only query is ended with its connection; 2 and not 1, as a user who may only read has it already.
  readonly: '2',
  cancel_http_readonly_queries_on_client_close: 1,
  output_format_decimal_trailing_zeros: 1,
  output_format_json_quote_decimals: 1,
  output_format_json_quote_64bit_integers: 1,
  // An answer is small, and threads to format it cost more than that.
  output_format_parallel_formatting: 0,
  join_use_nulls: 0,
};

interface Row {
  readonly merchant_id: string;
  readonly rejected_count: string;
  readonly rejected_amount: string;
  readonly total_count: string;
  readonly total_amount: string;
}
type MethodRow = Row & { readonly method: string | null };
interface PaymentRow {
  readonly payment_id: string;
  readonly payment_date: string;
  readonly amount: string;
  readonly method: string | null;
  readonly is_rejected: number;
}
type PeersRow = Row & { readonly merchants: string };

/** One position, and how to ask at it. */
interface Asking {
  readonly applied: AppliedPosition;
  readonly cost: RiskCost;
  readonly signal: AbortSignal;
  readonly span: Span | null;
}

/** The risk question, asked of ClickHouse: one query at one position, with every value bound. */
export class ClickHouseRisk implements RiskReader, PaymentsReader {
  readonly #options: ClickHouseRiskOptions;
  readonly #now: () => number;
  readonly #deadlineMs: Readonly<Record<RiskCost, number>>;

  constructor(options: ClickHouseRiskOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#deadlineMs = options.deadlineMs ?? DEADLINES_MS;
  }

  cost(question: RiskQuestion): RiskCost {
    const reachesMs = this.#now() - (this.#options.horizonMs ?? HORIZON_MS) + HORIZON_MARGIN_MS;
    const from = (question.to ?? microsFromMs(this.#now())) - reachUs(question);
    if (from < microsFromMs(reachesMs)) return 'landing';
    return question.baseline ? 'pass' : 'mart';
  }

  async read(
    ids: readonly bigint[],
    question: RiskQuestion,
    signal: AbortSignal,
    span: Span | null = null,
  ): Promise<RiskResult> {
    this.#refuseUnkept((question.to ?? microsFromMs(this.#now())) - reachUs(question));
    const cost = this.cost(question);
    return this.#atOnePosition(cost, signal, (applied) =>
      this.#ask(ids, question, { applied, cost, signal, span }),
    );
  }

  async lastPayments(
    id: bigint,
    last: number,
    signal: AbortSignal,
    span: Span | null = null,
  ): Promise<LastPayments> {
    const cost = this.cost(riskQuestion(null));
    return this.#atOnePosition(cost, signal, async (applied) => {
      const takenAtMs = this.#now();
      const window = windowUntil(newestEnd(takenAtMs, applied), WINDOW_US);
      const asking: Asking = { applied, cost, signal, span };
      const known = await this.#numbers([id], window, asking);
      if (!known.has(id)) return { applied, takenAtMs, window, payments: null };
      const more = { ids: [id], every: false, last };
      const rows = await this.#rows<PaymentRow>(this.#options.queries.last, window, asking, more);
      return { applied, takenAtMs, window, payments: rows.map(paymentOf) };
    });
  }

  /** What is asked of landing is asked while nothing is stored, since that keeps no older versions. */
  async #atOnePosition<T>(
    cost: RiskCost,
    signal: AbortSignal,
    ask: (applied: AppliedPosition) => Promise<T>,
  ): Promise<T> {
    const { positions } = this.#options;
    const now = async (applied: AppliedPosition | null): Promise<T> => {
      if (applied === null) throw unavailable(positions);
      refuseLate(applied);
      return ask(applied);
    };
    if (cost === 'landing') return positions.hold(now, signal);
    try {
      return await now(positions.applied());
    } catch (error) {
      // A kept-alive connection that the server had closed meanwhile costs one more try, not an answer.
      if (signal.aborted || !(error instanceof Problem) || !isBrokenConnection(error.cause)) throw error;
      return now(positions.applied());
    }
  }

  async #ask(ids: readonly bigint[], question: RiskQuestion, asking: Asking): Promise<RiskResult> {
    const takenAtMs = this.#now();
    const { applied } = asking;
    const { windowUs } = question;
    const window = windowUntil(question.to ?? newestEnd(takenAtMs, applied), windowUs);
    const merchants = await this.#numbers(ids, window, asking);
    return {
      applied,
      takenAtMs,
      window,
      merchants,
      ...(question.byMethod ? { byMethod: await this.#byMethod(ids, window, asking) } : {}),
      ...(question.baseline ? { baseline: await this.#baseline(merchants, window, windowUs, asking) } : {}),
    };
  }

  async #numbers(
    ids: readonly bigint[],
    window: RiskWindow,
    asking: Asking,
  ): Promise<ReadonlyMap<bigint, MerchantNumbers>> {
    const { numbers } = this.#options.queries;
    const rows = await this.#rows<Row>(numbers, window, asking, { ids, every: false });
    return new Map(rows.map((row) => [BigInt(row.merchant_id), numbersOf(row)]));
  }

  async #byMethod(
    ids: readonly bigint[],
    window: RiskWindow,
    asking: Asking,
  ): Promise<ReadonlyMap<bigint, readonly MethodNumbers[]>> {
    const { byMethod } = this.#options.queries;
    const found = new Map<bigint, MethodNumbers[]>();
    for (const row of await this.#rows<MethodRow>(byMethod, window, asking, { ids, every: false })) {
      const id = BigInt(row.merchant_id);
      const methods = found.get(id) ?? [];
      methods.push({ method: row.method, ...numbersOf(row) });
      found.set(id, methods);
    }
    return found;
  }

  /** Several queries at one position: what one of them counts, the others do. */
  async #baseline(
    merchants: ReadonlyMap<bigint, MerchantNumbers>,
    window: RiskWindow,
    windowUs: Micros,
    asking: Asking,
  ): Promise<ReadonlyMap<bigint, Baseline>> {
    const ids = [...merchants.keys()];
    const before: { window: RiskWindow; numbers: ReadonlyMap<bigint, MerchantNumbers> }[] = [];
    for (let end = window.fromUs; before.length < BASELINE_WINDOWS; end -= windowUs) {
      const earlier = windowUntil(end, windowUs);
      before.push({ window: earlier, numbers: await this.#numbers(ids, earlier, asking) });
    }
    const asked = [...merchants].map(([id, { totalCount }]) => `(${id},${totalCount})`);
    const peers = new Map<bigint, Baseline['peers']>();
    const rows =
      asked.length === 0
        ? []
        : await this.#rows<PeersRow>(this.#options.queries.peers, window, asking, {
            ids,
            every: true,
            asked: `[${asked.join(',')}]`,
          });
    for (const row of rows)
      peers.set(BigInt(row.merchant_id), { merchants: Number(row.merchants), ...numbersOf(row) });
    return new Map(
      [...merchants].map(([id, { totalAmount }]) => [
        id,
        {
          // The same merchants exist, since it is the same position.
          previous: before.map((one) => ({ window: one.window, numbers: one.numbers.get(id)! })),
          peers: peers.get(id) ?? { merchants: 0, ...zerosLike(totalAmount) },
        },
      ]),
    );
  }

  async #rows<T>(
    what: string,
    window: RiskWindow,
    { applied, cost, signal, span }: Asking,
    more: Readonly<Record<string, unknown>>,
  ): Promise<T[]> {
    const { client, queries, parameters } = this.#options;
    const rows = cost === 'landing' ? queries.rows.landing : queries.rows.mart;
    const part = span?.child('query risk', { request: true });
    let found: T[];
    try {
      const result = await client.query({
        query: `${rows}\n${what}`,
        format: 'JSONEachRow',
        query_params: {
          ...parameters,
          ...more,
          from: clickHouseTimestamp(window.fromUs),
          to: clickHouseTimestamp(window.toUs),
          ...(cost === 'landing' ? {} : { version_bound: versionBound(applied.lsn).toString() }),
        },
        // A thousand ids do not fit the address line that some proxies allow.
        use_multipart_params_auto: true,
        clickhouse_settings: { ...SETTINGS, max_execution_time: this.#deadlineMs[cost] / 1000 },
        abort_signal: signal,
        ...inTrace(part),
      });
      found = await result.json<T>();
      part?.end();
    } catch (error) {
      part?.end(signal.aborted ? 'aborted' : 'failed');
      if (signal.aborted) throw signal.reason;
      throw sinkProblem(error);
    }
    refuseLate(applied);
    return found;
  }

  #refuseUnkept(from: Micros): void {
    const keptFromMs = this.#options.keptFromMs?.(this.#now());
    if (keptFromMs === undefined || from >= microsFromMs(keptFromMs)) return;
    throw new Problem({
      status: 400,
      kind: 'at_not_kept',
      title: 'The window begins before what is kept.',
      detail: `Payments are kept from ${formatTimestamp(microsFromMs(keptFromMs))} on; the window would begin at ${formatTimestamp(from)}.`,
      fix: 'ask for a later "at", a shorter window, or without a baseline',
    });
  }
}

/** After so long what an answer is read from may have been replaced: nobody could say which position it is of. */
function refuseLate({ goodUntilMs }: AppliedPosition): void {
  if (goodUntilMs === undefined || performance.now() <= goodUntilMs) return;
  throw new Problem({
    status: 503,
    kind: 'position_expired',
    title: 'No true answer can be given at the moment.',
    detail: 'ClickHouse is so slow that it cannot be said which position an answer would be of.',
    fix: 'ask again; see system.processes for what keeps ClickHouse busy',
    retryAfterMs: 1000,
  });
}

/** The 503 that says why there is no position to answer at. */
export function unavailable(positions: Positions): Problem {
  const { kind, what, why, fix, retryAfterMs } = positions.unavailable();
  return new Problem({
    status: 503,
    kind,
    title: 'No true answer can be given at the moment.',
    detail: `${what} ${why}`.trim(),
    fix,
    retryAfterMs,
  });
}

export function windowUntil(toUs: Micros, windowUs: Micros): RiskWindow {
  return { fromUs: toUs - windowUs, toUs };
}

/** With as many places as another amount has. */
function zerosLike(amount: string): MerchantNumbers {
  const places = amount.split('.')[1]?.length ?? 0;
  const zero = places === 0 ? '0' : `0.${'0'.repeat(places)}`;
  return { rejectedCount: 0, rejectedAmount: zero, totalCount: 0, totalAmount: zero };
}

function paymentOf(row: PaymentRow): Payment {
  return {
    paymentId: row.payment_id,
    paymentDate: row.payment_date,
    amount: row.amount,
    method: row.method,
    rejected: row.is_rejected === 1,
  };
}

function numbersOf(row: Row): MerchantNumbers {
  return {
    rejectedCount: Number(row.rejected_count),
    rejectedAmount: row.rejected_amount,
    totalCount: Number(row.total_count),
    totalAmount: row.total_amount,
  };
}

/**
 * Now, but never before the newest commit that is applied: where the source's clock runs ahead of ours, a caller who has just
 * committed a payment dated `now()` would otherwise not see it.
 */
function newestEnd(nowMs: number, applied: AppliedPosition): Micros {
  const now = microsFromMs(nowMs);
  if (applied.committedAtMs === null) return now;
  // The commit time may have been cut to the millisecond.
  const committed = microsFromMs(Math.floor(applied.committedAtMs) + 1);
  return committed > now ? committed : now;
}
