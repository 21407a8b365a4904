import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import type { Coalescer } from './coalesce.js';
import { callerSignal, type ApiContext, type ApiEnv } from './context.js';
import { within } from './deadline.js';
import { BODY_MAX_BYTES, bodyTooLarge } from './failures.js';
import { behind, hasReached, refuseOlder, waitUntilApplied } from './freshness.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { invalidRequest, Problem } from './problem.js';
import { problems } from './responses.js';
import { unavailable } from './risk-clickhouse.js';
import {
  WINDOW_US,
  type Baseline,
  type MerchantNumbers,
  type PaymentsReader,
  type RiskQuestion,
  type RiskResult,
  type RiskWindow,
} from './risk.js';
import { shareOf } from './share.js';
import {
  MerchantList,
  MerchantParams,
  MerchantPayments,
  MerchantRisk,
  MerchantsRisk,
  RiskQuery,
  upTo,
} from './schemas.js';
import { formatTimestamp, microsFromMs, type Micros } from './timestamp.js';

export interface RiskRoutesOptions {
  readonly coalescer: Coalescer;
  readonly payments: PaymentsReader;
  readonly positions: Positions;
  readonly guard: Guard;
  readonly now: () => number;
  /** Of the question for single payments. */
  readonly deadlineMs: number;
  /** Lengths of the windows that may be asked for; the seven days always may. */
  readonly windows: readonly Micros[];
}

type Answered = Pick<RiskResult, 'applied' | 'takenAtMs' | 'window'>;

interface Asked {
  readonly at?: Micros | undefined;
  readonly window?: Micros | undefined;
  readonly by?: 'method' | undefined;
  readonly baseline?: boolean | undefined;
  readonly min_lsn?: Lsn | undefined;
  readonly wait_ms?: number | undefined;
  readonly max_lag_ms?: number | undefined;
}

/** `GET /v1/merchants/{id}/risk`, `POST /v1/merchants/risk` and `GET /v1/merchants/{id}/payments`. */
export function addRiskRoutes(app: OpenAPIHono<ApiEnv>, options: RiskRoutesOptions): void {
  const { guard } = options;

  const one = createRoute({
    method: 'get',
    tags: ['Merchants'],
    path: '/v1/merchants/{id}/risk',
    operationId: 'merchantRisk',
    summary: 'The seven-day numbers of one merchant',
    ...guard.needs('risk:read'),
    request: { params: MerchantParams, query: RiskQuery },
    responses: {
      200: { description: 'The numbers.', content: { 'application/json': { schema: MerchantRisk } } },
      ...problems(400, 401, 403, 404, 429, 503),
    },
  });
  app.openapi(one, async (context) => {
    const { id } = context.req.valid('param');
    const { result, shared } = await answer(context, options, [id], context.req.valid('query'));
    const entry = entryOf(id, result, shared);
    if (entry === null) throw unknownMerchant(result);
    return context.json(entry, 200);
  });

  const many = createRoute({
    method: 'post',
    tags: ['Merchants'],
    path: '/v1/merchants/risk',
    operationId: 'merchantsRisk',
    summary: 'The seven-day numbers of up to 1,000 merchants, at one position',
    description: 'Merchants that do not exist are in the answer too, with `found: false`.',
    ...guard.needs(
      'risk:read',
      bodyLimit({
        maxSize: BODY_MAX_BYTES,
        onError: () => {
          throw bodyTooLarge();
        },
      }),
    ),
    request: {
      query: RiskQuery,
      body: { required: true, content: { 'application/json': { schema: MerchantList } } },
    },
    responses: {
      200: { description: 'The numbers.', content: { 'application/json': { schema: MerchantsRisk } } },
      ...problems(400, 401, 403, 413, 415, 429, 503),
    },
  });
  app.openapi(many, async (context) => {
    const ids = context.req.valid('json').merchant_ids;
    const distinct = [...new Set(ids)];
    const { result, shared } = await answer(context, options, distinct, context.req.valid('query'));
    const merchants = ids.map((id) => {
      const entry = entryOf(id, result, shared);
      if (entry === null) return { merchant_id: id.toString(), found: false as const };
      return { ...entry, found: true as const };
    });
    return context.json({ ...shared, merchants }, 200);
  });
  addPaymentsRoute(app, options);
}

const LAST_MAX = 100;
const LAST_DEFAULT = 20;

/** `GET /v1/merchants/{id}/payments`. */
function addPaymentsRoute(
  app: OpenAPIHono<ApiEnv>,
  { guard, payments: reader, now, deadlineMs }: RiskRoutesOptions,
): void {
  const route = createRoute({
    method: 'get',
    tags: ['Merchants'],
    path: '/v1/merchants/{id}/payments',
    operationId: 'merchantPayments',
    summary: 'The latest payments of one merchant in the last seven days',
    ...guard.needs('risk:read'),
    request: { params: MerchantParams, query: z.strictObject({ limit: upTo(LAST_MAX, LAST_DEFAULT) }) },
    responses: {
      200: {
        description: 'The payments, the latest first.',
        content: { 'application/json': { schema: MerchantPayments } },
      },
      ...problems(400, 401, 403, 404, 429, 503),
    },
  });
  app.openapi(route, async (context) => {
    const { id } = context.req.valid('param');
    const last = context.req.valid('query').limit ?? LAST_DEFAULT;
    const found = await within(deadlineMs, callerSignal(context), (signal) =>
      reader.lastPayments(id, last, signal, context.get('span')),
    );
    const { payments } = found;
    if (payments === null) throw unknownMerchant(found);
    return context.json(
      {
        merchant_id: id.toString(),
        ...sharedPart(found, lagAt(now(), found)),
        payments: payments.map((payment) => ({
          payment_id: payment.paymentId,
          payment_date: payment.paymentDate,
          amount: payment.amount,
          method: payment.method,
          rejected: payment.rejected,
        })),
      },
      200,
    );
  });
}

/** Asks once everything the caller wants of freshness is so, and checks again that it was. */
async function answer(
  context: ApiContext,
  { coalescer, positions, now, windows }: RiskRoutesOptions,
  ids: readonly bigint[],
  query: Asked,
) {
  const windowUs = query.window ?? WINDOW_US;
  if (windowUs !== WINDOW_US && !windows.includes(windowUs)) throw unknownWindow(windows);
  const question: RiskQuestion = {
    to: query.at ?? null,
    windowUs,
    byMethod: query.by === 'method',
    baseline: query.baseline ?? false,
  };
  if (question.to !== null) refuseFarFuture(question.to, windowUs, now());
  await waitUntilApplied(context, positions, query.min_lsn, query.wait_ms ?? 0);
  const applied = positions.applied();
  if (applied === null) throw unavailable(positions);
  refuseOlder(applied.lagMs, query.max_lag_ms);

  const result = await coalescer.read(ids, question, callerSignal(context), context.get('span'));
  if (query.min_lsn !== undefined && !hasReached(result.applied, query.min_lsn)) {
    throw behind(query.min_lsn, result.applied, query.wait_ms ?? 0);
  }
  // What was fresh when it was read has aged while ClickHouse worked.
  const lagMs = lagAt(now(), result);
  refuseOlder(lagMs, query.max_lag_ms);
  return { result, shared: sharedPart(result, lagMs) };
}

/** null where the lag was never known. */
function lagAt(nowMs: number, { applied: { lagMs }, takenAtMs }: Answered): number | null {
  return lagMs === null ? null : Math.max(0, Math.round(lagMs + nowMs - takenAtMs));
}

function sharedPart({ window, applied }: Answered, lagMs: number | null) {
  return {
    window: windowOf(window),
    as_of: {
      lsn: formatLsn(applied.lsn),
      committed_at:
        applied.committedAtMs === null
          ? null
          : formatTimestamp(microsFromMs(Math.floor(applied.committedAtMs))),
      lag_ms: lagMs,
    },
  };
}

/** null where there is no such merchant. */
function entryOf(id: bigint, result: RiskResult, shared: ReturnType<typeof sharedPart>) {
  const numbers = result.merchants.get(id);
  if (numbers === undefined) return null;
  const baseline = result.baseline?.get(id);
  return {
    merchant_id: id.toString(),
    window: shared.window,
    ...rejectedAndTotal(numbers),
    ...(result.byMethod === undefined
      ? {}
      : {
          by_method: (result.byMethod.get(id) ?? []).map((one) => ({
            method: one.method,
            ...rejectedAndTotal(one),
          })),
        }),
    ...(baseline === undefined ? {} : { baseline: baselineOf(numbers, baseline) }),
    as_of: shared.as_of,
  };
}

function baselineOf(numbers: MerchantNumbers, { previous, peers }: Baseline) {
  return {
    share: shareOf(numbers),
    previous: previous.map((one) => ({
      window: windowOf(one.window),
      ...rejectedAndTotal(one.numbers),
      share: shareOf(one.numbers),
    })),
    peers: { merchants: peers.merchants, ...rejectedAndTotal(peers), share: shareOf(peers) },
  };
}

function rejectedAndTotal(numbers: MerchantNumbers) {
  return {
    rejected: { count: numbers.rejectedCount, amount: numbers.rejectedAmount },
    total: { count: numbers.totalCount, amount: numbers.totalAmount },
  };
}

function windowOf({ fromUs, toUs }: RiskWindow) {
  return { from: formatTimestamp(fromUs), to: formatTimestamp(toUs) };
}

function refuseFarFuture(at: Micros, windowUs: Micros, nowMs: number): void {
  if (at <= microsFromMs(nowMs) + windowUs) return;
  throw invalidRequest(
    [
      {
        at: 'query.at',
        detail: 'lies more than one window ahead, so nothing that has happened could be in it',
      },
    ],
    `ask for a time that is at most ${formatWindow(windowUs)} ahead`,
  );
}

function unknownWindow(windows: readonly Micros[]): Problem {
  const known = [...new Set([...windows, WINDOW_US])].sort((a, b) => Number(a - b)).map(formatWindow);
  return invalidRequest(
    [{ at: 'query.window', detail: 'is none of the windows that are configured (risk.windows)' }],
    `ask for one of ${known.join(', ')}`,
  );
}

function formatWindow(us: Micros): string {
  const hours = us / 3_600_000_000n;
  return hours % 24n === 0n ? `${hours / 24n}d` : `${hours}h`;
}

function unknownMerchant({ applied }: Answered): Problem {
  return new Problem({
    status: 404,
    kind: 'merchant_unknown',
    title: 'There is no such merchant.',
    detail: `No merchant has this id as of ${formatLsn(applied.lsn)}.`,
    fix: 'check the id; if the merchant was only just created, pass min_lsn and wait_ms',
    extra: { as_of_lsn: formatLsn(applied.lsn) },
  });
}
