import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { versionBound } from '../pipeline/version.js';
import { isBrokenConnection, sinkProblem } from './clickhouse-failure.js';
import type { AppliedPosition, Positions } from './positions.js';
import { Problem } from './problem.js';
import {
  WINDOW_US,
  type MerchantNumbers,
  type RiskCost,
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
   * SQL with the parameters `ids Array(Int64)`, `from` and `to DateTime64(6, 'UTC')` and, over the mart, `version_bound
   * UInt128`. Each gives one row a merchant that exists: merchant_id, rejected_count, rejected_amount, total_count,
   * total_amount. `mart` reads a table that keeps every version; `landing` is asked for older windows and while nothing
   * is being stored, and reads the newest version of each row.
   */
  readonly queries: { readonly mart: string; readonly landing: string };
  /** Further parameters of the queries, such as the databases: `{database:Identifier}`. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** How far back the mart reaches. */
  readonly horizonMs?: number;
  /** The oldest payment_date that retention keeps, at a time; a window that begins before it cannot be answered. */
  readonly keptFromMs?: (nowMs: number) => number;
  readonly now?: () => number;
  /** When ClickHouse gives up on a query by itself. */
  readonly deadlineMs?: { readonly mart: number; readonly landing: number };
}

export const HORIZON_MS = 8 * 24 * 3600 * 1000;
export const DEADLINES_MS = { mart: 2000, landing: 5000 } as const;

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
  join_use_nulls: 0,
};

interface Row {
  readonly merchant_id: string;
  readonly rejected_count: string;
  readonly rejected_amount: string;
  readonly total_count: string;
  readonly total_amount: string;
}

/** The risk question, asked of ClickHouse: one query at one position, with every value bound. */
export class ClickHouseRisk implements RiskReader {
  readonly #options: ClickHouseRiskOptions;
  readonly #now: () => number;
  readonly #deadlineMs: { readonly mart: number; readonly landing: number };

  constructor(options: ClickHouseRiskOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#deadlineMs = options.deadlineMs ?? DEADLINES_MS;
  }

  cost(to: Micros | null): RiskCost {
    if (to === null) return 'mart';
    const reachesMs = this.#now() - (this.#options.horizonMs ?? HORIZON_MS) + HORIZON_MARGIN_MS;
    return to - WINDOW_US >= microsFromMs(reachesMs) ? 'mart' : 'landing';
  }

  async read(ids: readonly bigint[], to: Micros | null, signal: AbortSignal): Promise<RiskResult> {
    if (to !== null) this.#refuseUnkept(to - WINDOW_US);
    if (this.cost(to) === 'landing') {
      const { positions } = this.#options;
      return positions.hold((applied) => this.#ask(ids, to, signal, 'landing', applied), signal);
    }
    try {
      return await this.#ask(ids, to, signal, 'mart', this.#options.positions.applied());
    } catch (error) {
      // A kept-alive connection that the server had closed meanwhile costs one more try, not an answer.
      if (signal.aborted || !(error instanceof Problem) || !isBrokenConnection(error.cause)) throw error;
      return this.#ask(ids, to, signal, 'mart', this.#options.positions.applied());
    }
  }

  async #ask(
    ids: readonly bigint[],
    to: Micros | null,
    signal: AbortSignal,
    cost: RiskCost,
    applied: AppliedPosition | null,
  ): Promise<RiskResult> {
    if (applied === null) throw unavailable(this.#options.positions);
    refuseLate(applied);
    const takenAtMs = this.#now();
    const window = windowUntil(to ?? newestEnd(takenAtMs, applied));
    const merchants = new Map<bigint, MerchantNumbers>();
    const rows = await this.#rows(ids, window, applied, cost, signal);
    refuseLate(applied);
    for (const row of rows) {
      merchants.set(BigInt(row.merchant_id), {
        rejectedCount: Number(row.rejected_count),
        rejectedAmount: row.rejected_amount,
        totalCount: Number(row.total_count),
        totalAmount: row.total_amount,
      });
    }
    return { applied, takenAtMs, window, merchants };
  }

  async #rows(
    ids: readonly bigint[],
    window: RiskWindow,
    applied: AppliedPosition,
    cost: RiskCost,
    signal: AbortSignal,
  ): Promise<Row[]> {
    const { client, queries, parameters } = this.#options;
    try {
      const result = await client.query({
        query: queries[cost],
        format: 'JSONEachRow',
        query_params: {
          ...parameters,
          ids,
          from: clickHouseTimestamp(window.fromUs),
          to: clickHouseTimestamp(window.toUs),
          ...(cost === 'mart' ? { version_bound: versionBound(applied.lsn).toString() } : {}),
        },
        // A thousand ids do not fit the address line that some proxies allow.
        use_multipart_params_auto: true,
        clickhouse_settings: { ...SETTINGS, max_execution_time: this.#deadlineMs[cost] / 1000 },
        abort_signal: signal,
      });
      return await result.json<Row>();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw sinkProblem(error);
    }
  }

  #refuseUnkept(from: Micros): void {
    const keptFromMs = this.#options.keptFromMs?.(this.#now());
    if (keptFromMs === undefined || from >= microsFromMs(keptFromMs)) return;
    throw new Problem({
      status: 400,
      kind: 'at_not_kept',
      title: 'The window begins before what is kept.',
      detail: `Payments are kept from ${formatTimestamp(microsFromMs(keptFromMs))} on; the window would begin at ${formatTimestamp(from)}.`,
      fix: 'ask for a later "at"',
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

export function windowUntil(toUs: Micros): RiskWindow {
  return { fromUs: toUs - WINDOW_US, toUs };
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
