import type { ClientBase, Pool } from 'pg';
import {
  riskOnPostgres,
  type RiskNumbers,
  type RiskQuestion,
  type Share,
  type Sums,
} from './risk-postgres.js';

export { riskOnPostgres, type RiskNumbers, type RiskQuestion };

export interface CompareRiskOptions {
  /** Where the API listens: `http://127.0.0.1:8080`. */
  readonly apiUrl: string;
  readonly apiKey?: string | undefined;
  readonly postgres: ClientBase | Pool;
  readonly merchantIds: readonly bigint[];
  /** The window's end; null for now, whatever now the answer says. */
  readonly at: string | null;
  /** What is asked beside the numbers of seven days. */
  readonly question?: RiskQuestion;
  /** `0/16B3748`: the position from which answers count; Postgres must not change after it. */
  readonly minLsn: string;
  readonly waitMs?: number;
  /** How many merchants are asked for one by one too. */
  readonly aloneMax?: number;
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
  let { at } = options;
  const { merchantIds } = options;
  const alone = merchantIds.slice(0, options.aloneMax ?? ALONE_MAX);
  for (let first = 0; first < merchantIds.length; first += LIST_MAX) {
    const ids = merchantIds.slice(first, first + LIST_MAX);
    const listed = await askForList({ ...options, at }, ids);
    at ??= listed.to;
    const expected = await riskOnPostgres(options.postgres, ids, at, options.question);
    for (const id of ids) {
      const postgres = expected.get(id) ?? null;
      if ((postgres?.totalCount ?? 0) > 0) withPayments++;
      const api = listed.merchants.get(id) ?? null;
      note(differences, { merchantId: String(id), asked: 'in a list', postgres, api });
    }
    if (first > 0) continue;
    for (const id of alone) {
      const api = await askForOne({ ...options, at }, id);
      note(differences, { merchantId: String(id), asked: 'alone', postgres: expected.get(id) ?? null, api });
    }
  }
  return {
    equal: differences.length === 0,
    at: at ?? '',
    compared: merchantIds.length,
    comparedAlone: alone.length,
    withPayments,
    differences,
  };
}

/** Both sides are built with their parts in one order. */
function note(differences: RiskDifference[], pair: RiskDifference): void {
  if (JSON.stringify(pair.postgres) !== JSON.stringify(pair.api)) differences.push(pair);
}

interface SumsAnswer {
  readonly rejected: { readonly count: number; readonly amount: string };
  readonly total: { readonly count: number; readonly amount: string };
}
interface WindowAnswer {
  readonly from: string;
  readonly to: string;
}
interface MerchantAnswer extends SumsAnswer {
  readonly merchant_id: string;
  readonly found?: boolean;
  readonly by_method?: readonly (SumsAnswer & { readonly method: string | null })[];
  readonly baseline?: {
    readonly share: Share;
    readonly previous: readonly (SumsAnswer & { readonly window: WindowAnswer; readonly share: Share })[];
    readonly peers: SumsAnswer & { readonly merchants: number; readonly share: Share };
  };
}

async function askForList(
  options: CompareRiskOptions,
  ids: readonly bigint[],
): Promise<{ readonly to: string; readonly merchants: ReadonlyMap<bigint, RiskNumbers | null> }> {
  const response = await ask(options, '/v1/merchants/risk', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ merchant_ids: ids.map(String) }),
  });
  if (!response.ok) throw await refusal(response);
  const { window, merchants } = (await response.json()) as {
    window?: WindowAnswer;
    merchants: readonly MerchantAnswer[];
  };
  const to = options.at ?? window?.to;
  if (to === undefined) throw new Error('the API answered without the window that its numbers are of');
  return {
    to,
    merchants: new Map(
      merchants.map((answer) => [
        BigInt(answer.merchant_id),
        answer.found === false ? null : numbersOf(answer),
      ]),
    ),
  };
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
  const { windowHours, byMethod, baseline } = options.question ?? {};
  if (options.at !== null) url.searchParams.set('at', options.at);
  if (windowHours !== undefined) url.searchParams.set('window', `${windowHours}h`);
  if (byMethod === true) url.searchParams.set('by', 'method');
  if (baseline === true) url.searchParams.set('baseline', 'true');
  url.searchParams.set('min_lsn', options.minLsn);
  url.searchParams.set('wait_ms', String(options.waitMs ?? 10_000));
  const headers = new Headers(init.headers);
  if (options.apiKey !== undefined) headers.set('authorization', `Bearer ${options.apiKey}`);
  return fetch(url, { ...init, headers });
}

async function refusal(response: Response): Promise<Error> {
  return new Error(`the API answered ${response.status}: ${(await response.text()).slice(0, 500)}`);
}

function numbersOf(answer: MerchantAnswer): RiskNumbers {
  const { by_method: byMethod, baseline } = answer;
  return {
    ...sumsOf(answer),
    ...(byMethod === undefined
      ? {}
      : { byMethod: byMethod.map((one) => ({ method: one.method, ...sumsOf(one) })) }),
    ...(baseline === undefined ? {} : { baseline: baselineOf(baseline) }),
  };
}

function baselineOf({ share, previous, peers }: NonNullable<MerchantAnswer['baseline']>) {
  return {
    share: shareOf(share),
    previous: previous.map((one) => ({
      from: toMicroseconds(one.window.from),
      to: toMicroseconds(one.window.to),
      ...sumsOf(one),
      share: shareOf(one.share),
    })),
    peers: { merchants: peers.merchants, ...sumsOf(peers), share: shareOf(peers.share) },
  };
}

function sumsOf({ rejected, total }: SumsAnswer): Sums {
  return {
    rejectedCount: rejected.count,
    rejectedAmount: rejected.amount,
    totalCount: total.count,
    totalAmount: total.amount,
  };
}

function shareOf({ count, amount }: Share): Share {
  return { count, amount };
}

/** As Postgres is asked to write it; the API leaves out decimals that are zero. */
function toMicroseconds(timestamp: string): string {
  return timestamp.replace(/\.(\d+)Z$/, (_, decimals: string) => `.${decimals.padEnd(6, '0')}Z`);
}
