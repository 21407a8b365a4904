import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import type { Coalescer } from './coalesce.js';
import { callerSignal, type ApiContext, type ApiEnv } from './context.js';
import { BODY_MAX_BYTES, bodyTooLarge } from './failures.js';
import { behind, hasReached, refuseOlder, waitUntilApplied } from './freshness.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { invalidRequest, Problem } from './problem.js';
import { problems } from './responses.js';
import { unavailable } from './risk-clickhouse.js';
import { WINDOW_US, type MerchantNumbers, type RiskResult } from './risk.js';
import { MerchantList, MerchantParams, MerchantRisk, MerchantsRisk, RiskQuery } from './schemas.js';
import { formatTimestamp, microsFromMs, type Micros } from './timestamp.js';

export interface RiskRoutesOptions {
  readonly coalescer: Coalescer;
  readonly positions: Positions;
  readonly guard: Guard;
  readonly now: () => number;
}

interface Freshness {
  readonly at?: Micros | undefined;
  readonly min_lsn?: Lsn | undefined;
  readonly wait_ms?: number | undefined;
  readonly max_lag_ms?: number | undefined;
}

const SECURITY = [{ key: ['risk:read'] }];

/** `GET /v1/merchants/{id}/risk` and `POST /v1/merchants/risk`. */
export function addRiskRoutes(app: OpenAPIHono<ApiEnv>, options: RiskRoutesOptions): void {
  const { guard } = options;

  const one = createRoute({
    method: 'get',
    path: '/v1/merchants/{id}/risk',
    operationId: 'merchantRisk',
    summary: 'The seven-day numbers of one merchant',
    security: SECURITY,
    middleware: [guard.scope('risk:read')] as const,
    request: { params: MerchantParams, query: RiskQuery },
    responses: {
      200: { description: 'The numbers.', content: { 'application/json': { schema: MerchantRisk } } },
      ...problems(400, 401, 403, 404, 429, 503),
    },
  });
  app.openapi(one, async (context) => {
    const { id } = context.req.valid('param');
    const { result, shared } = await answer(context, options, [id], context.req.valid('query'));
    const numbers = result.merchants.get(id);
    if (numbers === undefined) throw unknownMerchant(result);
    return context.json(entryOf(id, numbers, shared), 200);
  });

  const many = createRoute({
    method: 'post',
    path: '/v1/merchants/risk',
    operationId: 'merchantsRisk',
    summary: 'The seven-day numbers of up to 1,000 merchants, at one position',
    description: 'Merchants that do not exist are in the answer too, with `found: false`.',
    security: SECURITY,
    middleware: [
      guard.scope('risk:read'),
      bodyLimit({
        maxSize: BODY_MAX_BYTES,
        onError: () => {
          throw bodyTooLarge();
        },
      }),
    ] as const,
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
      const numbers = result.merchants.get(id);
      if (numbers === undefined) return { merchant_id: id.toString(), found: false as const };
      return { ...entryOf(id, numbers, shared), found: true as const };
    });
    return context.json({ ...shared, merchants }, 200);
  });
}

/** Asks once everything the caller wants of freshness is so, and checks again that it was. */
async function answer(
  context: ApiContext,
  { coalescer, positions, now }: RiskRoutesOptions,
  ids: readonly bigint[],
  query: Freshness,
) {
  if (query.at !== undefined) refuseFarFuture(query.at, now());
  await waitUntilApplied(context, positions, query.min_lsn, query.wait_ms ?? 0);
  const applied = positions.applied();
  if (applied === null) throw unavailable(positions);
  refuseOlder(applied.lagMs, query.max_lag_ms);

  const result = await coalescer.read(ids, query.at ?? null, callerSignal(context));
  if (query.min_lsn !== undefined && !hasReached(result.applied, query.min_lsn)) {
    throw behind(query.min_lsn, result.applied, query.wait_ms ?? 0);
  }
  // What was fresh when it was read has aged while ClickHouse worked.
  const before = result.applied.lagMs;
  const lagMs = before === null ? null : Math.max(0, Math.round(before + now() - result.takenAtMs));
  refuseOlder(lagMs, query.max_lag_ms);
  return { result, shared: sharedPart(result, lagMs) };
}

function sharedPart({ window, applied }: RiskResult, lagMs: number | null) {
  return {
    window: { from: formatTimestamp(window.fromUs), to: formatTimestamp(window.toUs) },
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

function entryOf(id: bigint, numbers: MerchantNumbers, shared: ReturnType<typeof sharedPart>) {
  return {
    merchant_id: id.toString(),
    window: shared.window,
    rejected: { count: numbers.rejectedCount, amount: numbers.rejectedAmount },
    total: { count: numbers.totalCount, amount: numbers.totalAmount },
    as_of: shared.as_of,
  };
}

function refuseFarFuture(at: Micros, nowMs: number): void {
  if (at <= microsFromMs(nowMs) + WINDOW_US) return;
  throw invalidRequest(
    [
      {
        at: 'query.at',
        detail: 'lies more than one window ahead, so nothing that has happened could be in it',
      },
    ],
    'ask for a time that is at most 168 hours ahead',
  );
}

function unknownMerchant({ applied }: RiskResult): Problem {
  return new Problem({
    status: 404,
    kind: 'merchant_unknown',
    title: 'There is no such merchant.',
    detail: `No merchant has this id as of ${formatLsn(applied.lsn)}.`,
    fix: 'check the id; if the merchant was only just created, pass min_lsn and wait_ms',
    extra: { as_of_lsn: formatLsn(applied.lsn) },
  });
}
