import type { ClientBase, Pool } from 'pg';

/** Payments added up. */
export interface Sums {
  readonly rejectedCount: number;
  /** Decimal text with two places. */
  readonly rejectedAmount: string;
  readonly totalCount: number;
  readonly totalAmount: string;
}

/** The rejected part of them, by number and by amount: decimal text with six places; null where there is nothing to be a part of. */
export interface Share {
  readonly count: string | null;
  readonly amount: string | null;
}

/** The numbers of one merchant, and what was asked for besides. */
export interface RiskNumbers extends Sums {
  /** In the order of the methods' names, byte for byte. */
  readonly byMethod?: readonly (Sums & { readonly method: string | null })[];
  readonly baseline?: {
    readonly share: Share;
    /** The latest first. `from` and `to` are in UTC with six decimals: `2026-11-21T09:00:00.123456Z`. */
    readonly previous: readonly (Sums & {
      readonly from: string;
      readonly to: string;
      readonly share: Share;
    })[];
    readonly peers: Sums & { readonly merchants: number; readonly share: Share };
  };
}

/** What is asked beside the numbers of seven days. */
export interface RiskQuestion {
  /** 168 when left out. */
  readonly windowHours?: number;
  readonly byMethod?: boolean;
  readonly baseline?: boolean;
}

interface SumsRow {
  readonly id: string;
  readonly rejected_count: string;
  readonly rejected_amount: string;
  readonly total_count: string;
  readonly total_amount: string;
}
interface ShareRow extends SumsRow {
  readonly share_count: string | null;
  readonly share_amount: string | null;
}
type WindowRow = ShareRow & { readonly back: number; readonly begins: string; readonly ends: string };

/** Windows before the one that is asked for. */
const PREVIOUS = 4;

const SUMS = `
  count(*) filter (where status = 'Rejected')::text as rejected_count,
  coalesce(sum(amount) filter (where status = 'Rejected'), 0)::numeric(38, 2)::text as rejected_amount,
  count(*)::text as total_count,
  coalesce(sum(amount), 0)::numeric(38, 2)::text as total_amount`;

/** In whole numbers throughout: a quotient that is cut first and rounded then would be rounded twice. */
const share = (part: string, whole: string): string =>
  `(sign(${part}::numeric * ${whole}::numeric)
    * div(2000000 * abs(${part}::numeric) + abs(${whole}::numeric), nullif(2 * abs(${whole}::numeric), 0))
    / 1000000)::numeric(60, 6)::text`;
const SHARES = `${share('rejected_count', 'total_count')} as share_count,
                ${share('rejected_amount', 'total_amount')} as share_amount`;

const inUtc = (timestamp: string): string =>
  `to_char(${timestamp} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Takes $1 ids, $2 the end, $3 hours, $4 windows before it. */
const WINDOWS = `
  select asked.id::text as id, windows.back, ${inUtc('windows.begins')} as begins, ${inUtc('windows.ends')} as ends,
         sums.*, ${SHARES}
  from unnest($1::bigint[]) as asked(id)
  cross join (
    select back, $2::timestamptz - (back + 1) * make_interval(hours => $3) as begins,
           $2::timestamptz - back * make_interval(hours => $3) as ends
    from generate_series(0, $4::int) as back
  ) as windows
  cross join lateral (
    select ${SUMS}
    from public.payments
    where payments.merchant_id = asked.id and payment_date > windows.begins and payment_date <= windows.ends
  ) as sums
  where exists (select from public.merchants where merchants.merchant_id = asked.id)
  order by asked.id, windows.back`;

/** Takes $1 ids, $2 the end, $3 hours. */
const METHODS = `
  select merchant_id::text as id, method, ${SUMS}
  from public.payments
  where merchant_id = any($1::bigint[])
    and payment_date > $2::timestamptz - make_interval(hours => $3) and payment_date <= $2::timestamptz
  group by merchant_id, method
  order by merchant_id, method collate "C" nulls last`;

/** Takes $1 ids, $2 the end, $3 hours. A merchant without payments has no volume, and so no peers. */
const PEERS = `
  with volumes as materialized (
    select merchant_id,
           count(*) filter (where status = 'Rejected') as rejected_count,
           coalesce(sum(amount) filter (where status = 'Rejected'), 0) as rejected_amount,
           count(*) as total_count,
           sum(amount) as total_amount
    from public.payments join public.merchants using (merchant_id)
    where payment_date > $2::timestamptz - make_interval(hours => $3) and payment_date <= $2::timestamptz
    group by merchant_id
  )
  select sums.*, ${SHARES}
  from (
    select asked.id::text as id,
           count(peers.merchant_id)::text as merchants,
           coalesce(sum(peers.rejected_count), 0)::text as rejected_count,
           coalesce(sum(peers.rejected_amount), 0)::numeric(38, 2)::text as rejected_amount,
           coalesce(sum(peers.total_count), 0)::text as total_count,
           coalesce(sum(peers.total_amount), 0)::numeric(38, 2)::text as total_amount
    from unnest($1::bigint[]) as asked(id)
    left join volumes as own on own.merchant_id = asked.id
    left join volumes as peers on peers.merchant_id <> own.merchant_id
      and peers.total_count between own.total_count / 2.0 and own.total_count * 2
    group by asked.id
  ) as sums`;

/**
 * What the API should answer, as SQL on Postgres has it; null where the merchant does not exist. `at` is the end of the window: an
 * RFC 3339 timestamp, to the microsecond if need be. Nothing may write meanwhile.
 */
export async function riskOnPostgres(
  postgres: ClientBase | Pool,
  merchantIds: readonly bigint[],
  at: string,
  { windowHours = 168, byMethod = false, baseline = false }: RiskQuestion = {},
): Promise<ReadonlyMap<bigint, RiskNumbers | null>> {
  const ids = merchantIds.map(String);
  const windows = await postgres.query<WindowRow>(WINDOWS, [ids, at, windowHours, baseline ? PREVIOUS : 0]);
  const methods = byMethod
    ? (await postgres.query<SumsRow & { method: string | null }>(METHODS, [ids, at, windowHours])).rows
    : [];
  const peers = baseline
    ? (await postgres.query<ShareRow & { merchants: string }>(PEERS, [ids, at, windowHours])).rows
    : [];
  const previous = grouped(windows.rows.filter(({ back }) => back > 0));
  const methodsOf = grouped(methods);
  const peersOf = new Map(peers.map((row) => [row.id, row]));
  const known = new Map(windows.rows.filter(({ back }) => back === 0).map((row) => [row.id, row]));
  return new Map(
    merchantIds.map((id) => {
      const row = known.get(String(id));
      if (row === undefined) return [id, null];
      return [
        id,
        {
          ...sumsOf(row),
          ...(byMethod
            ? {
                byMethod: (methodsOf.get(row.id) ?? []).map((one) => ({
                  method: one.method,
                  ...sumsOf(one),
                })),
              }
            : {}),
          ...(baseline ? { baseline: baselineOf(row, previous.get(row.id)!, peersOf.get(row.id)!) } : {}),
        },
      ];
    }),
  );
}

function baselineOf(
  own: ShareRow,
  previous: readonly WindowRow[],
  peers: ShareRow & { readonly merchants: string },
): NonNullable<RiskNumbers['baseline']> {
  return {
    share: shareOf(own),
    previous: previous.map((row) => ({
      from: row.begins,
      to: row.ends,
      ...sumsOf(row),
      share: shareOf(row),
    })),
    peers: { merchants: Number(peers.merchants), ...sumsOf(peers), share: shareOf(peers) },
  };
}

function grouped<T extends SumsRow>(rows: readonly T[]): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const row of rows) {
    const group = groups.get(row.id);
    if (group === undefined) groups.set(row.id, [row]);
    else group.push(row);
  }
  return groups;
}

function sumsOf(row: SumsRow): Sums {
  return {
    rejectedCount: Number(row.rejected_count),
    rejectedAmount: row.rejected_amount,
    totalCount: Number(row.total_count),
    totalAmount: row.total_amount,
  };
}

function shareOf(row: ShareRow): Share {
  return { count: row.share_count, amount: row.share_amount };
}
