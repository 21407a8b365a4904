import type { ClientBase, Pool } from 'pg';

/** The seven-day numbers of one merchant, as SQL on Postgres gives them; null where the merchant does not exist. */
export interface RiskNumbers {
  readonly rejectedCount: number;
  /** Decimal text with two places. */
  readonly rejectedAmount: string;
  readonly totalCount: number;
  readonly totalAmount: string;
}

/** `at` is the end of the window: an RFC 3339 timestamp, to the microsecond if need be. */
export async function riskOnPostgres(
  postgres: ClientBase | Pool,
  merchantIds: readonly bigint[],
  at: string,
): Promise<ReadonlyMap<bigint, RiskNumbers | null>> {
  const { rows } = await postgres.query<{
    id: string;
    known: boolean;
    rejected_count: string;
    rejected_amount: string;
    total_count: string;
    total_amount: string;
  }>(
    `select asked.id::text as id,
            exists (select from public.merchants where merchants.merchant_id = asked.id) as known,
            sums.*
     from unnest($1::bigint[]) as asked(id)
     cross join lateral (
       select count(*) filter (where status = 'Rejected')::text as rejected_count,
              coalesce(sum(amount) filter (where status = 'Rejected'), 0)::numeric(38, 2)::text as rejected_amount,
              count(*)::text as total_count,
              coalesce(sum(amount), 0)::numeric(38, 2)::text as total_amount
       from public.payments
       where payments.merchant_id = asked.id
         and payment_date > $2::timestamptz - interval '168 hours' and payment_date <= $2::timestamptz
     ) as sums`,
    [merchantIds.map(String), at],
  );
  return new Map(
    rows.map((row) => [
      BigInt(row.id),
      row.known
        ? {
            rejectedCount: Number(row.rejected_count),
            rejectedAmount: row.rejected_amount,
            totalCount: Number(row.total_count),
            totalAmount: row.total_amount,
          }
        : null,
    ]),
  );
}

export interface CompareRiskOptions {
  /** Where the API listens: `http://127.0.0.1:8080`. */
  readonly apiUrl: string;
  readonly apiKey?: string | undefined;
  readonly postgres: ClientBase | Pool;
  readonly merchantIds: readonly bigint[];
  readonly at: string;
  /** `0/16B3748`: the position from which answers count; Postgres must not change after it. */
  readonly minLsn: string;
  readonly waitMs?: number;
}

export interface RiskDifference {
  readonly merchantId: string;
  /** How it was asked for: alone or in a list. */
  readonly asked: 'alone' | 'in a list';
  readonly postgres: RiskNumbers | null;
  readonly api: RiskNumbers | null;
}

export interface RiskComparison {
  readonly equal: boolean;
  readonly at: string;
  /** Merchants compared; `comparedAlone` of them were also asked for one by one. */
  readonly compared: number;
  readonly comparedAlone: number;
  /** Merchants with at least one payment in the window: if there are none, equality says little. */
  readonly withPayments: number;
  readonly differences: readonly RiskDifference[];
}

const LIST_MAX = 1_000;
const ALONE_MAX = 25;

/**
 * Asks the API and Postgres for the same merchants at the same end of the window. Rejects when the API gives no answer (503 with its
 * fix, for example): that is no comparison.
 */
export async function compareRisk(options: CompareRiskOptions): Promise<RiskComparison> {
  const differences: RiskDifference[] = [];
  let withPayments = 0;
  const { merchantIds, at } = options;
  const alone = merchantIds.slice(0, ALONE_MAX);
  for (let first = 0; first < merchantIds.length; first += LIST_MAX) {
    const ids = merchantIds.slice(first, first + LIST_MAX);
    const expected = await riskOnPostgres(options.postgres, ids, at);
    const listed = await askForList(options, ids);
    for (const id of ids) {
      const postgres = expected.get(id) ?? null;
      if ((postgres?.totalCount ?? 0) > 0) withPayments++;
      note(differences, {
        merchantId: String(id),
        asked: 'in a list',
        postgres,
        api: listed.get(id) ?? null,
      });
    }
    if (first > 0) continue;
    for (const id of alone) {
      const api = await askForOne(options, id);
      note(differences, { merchantId: String(id), asked: 'alone', postgres: expected.get(id) ?? null, api });
    }
  }
  return {
    equal: differences.length === 0,
    at,
    compared: merchantIds.length,
    comparedAlone: alone.length,
    withPayments,
    differences,
  };
}

function note(differences: RiskDifference[], pair: RiskDifference): void {
  const { postgres, api } = pair;
  const equal =
    postgres?.rejectedCount === api?.rejectedCount &&
    postgres?.rejectedAmount === api?.rejectedAmount &&
    postgres?.totalCount === api?.totalCount &&
    postgres?.totalAmount === api?.totalAmount;
  if (!equal) differences.push(pair);
}

interface MerchantAnswer {
  readonly merchant_id: string;
  readonly found?: boolean;
  readonly rejected: { readonly count: number; readonly amount: string };
  readonly total: { readonly count: number; readonly amount: string };
}

async function askForList(
  options: CompareRiskOptions,
  ids: readonly bigint[],
): Promise<ReadonlyMap<bigint, RiskNumbers | null>> {
  const response = await ask(options, '/v1/merchants/risk', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ merchant_ids: ids.map(String) }),
  });
  if (!response.ok) throw await refusal(response);
  const { merchants } = (await response.json()) as { merchants: readonly MerchantAnswer[] };
  return new Map(
    merchants.map((answer) => [
      BigInt(answer.merchant_id),
      answer.found === false ? null : numbersOf(answer),
    ]),
  );
}

async function askForOne(options: CompareRiskOptions, id: bigint): Promise<RiskNumbers | null> {
  const response = await ask(options, `/v1/merchants/${id}/risk`, {});
  if (response.status === 404) {
    await response.body?.cancel();
    return null;
  }
  if (!response.ok) throw await refusal(response);
  return numbersOf((await response.json()) as MerchantAnswer);
}

async function ask(options: CompareRiskOptions, path: string, init: RequestInit): Promise<Response> {
  const url = new URL(path, options.apiUrl);
  url.searchParams.set('at', options.at);
  url.searchParams.set('min_lsn', options.minLsn);
  url.searchParams.set('wait_ms', String(options.waitMs ?? 10_000));
  const headers = new Headers(init.headers);
  if (options.apiKey !== undefined) headers.set('authorization', `Bearer ${options.apiKey}`);
  return fetch(url, { ...init, headers });
}

async function refusal(response: Response): Promise<Error> {
  return new Error(`the API answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

function numbersOf({ rejected, total }: MerchantAnswer): RiskNumbers {
  return {
    rejectedCount: rejected.count,
    rejectedAmount: rejected.amount,
    totalCount: total.count,
    totalAmount: total.amount,
  };
}
