import { OpenAPIHono } from '@hono/zod-openapi';
import type { Hono } from 'hono';
import { etag } from 'hono/etag';
import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { Registry } from 'prom-client';
import { loadDashboard } from '../ops/dashboard.js';
import { addStandingMetrics } from '../ops/metrics/standing.js';
import type { StandingSample, StatusDocument } from '../ops/status.js';
import type { Log } from '../pipeline/log.js';
import type { Tracer } from '../pipeline/tracer.js';
import { COALESCE_LIMITS, Coalescer, type CoalesceLimits } from './coalesce.js';
import { addressOf, requestIdOf, type ApiEnv } from './context.js';
import { DEADLINES, type Deadlines } from './deadline.js';
import { answerFailure, answerUnknown, invalidParts, type RouteName } from './failures.js';
import { Guard } from './guard.js';
import type { ApiKey } from './keys.js';
import { ApiMetrics } from './metrics.js';
import type { Positions } from './positions.js';
import type { RateLimit } from './rate-limit.js';
import type { PaymentsReader, RiskReader } from './risk.js';
import { addDomainRoutes, type Pictures } from './routes-domains.js';
import { addOpsRoutes, type RetentionStanding } from './routes-ops.js';
import { addOrderRoutes, type Control } from './routes-orders.js';
import { addPageRoutes } from './routes-pages.js';
import { addRiskRoutes } from './routes-risk.js';
import { SECURITY_HEADERS, USUAL_HEADERS } from './security-headers.js';
import { microsFromMs } from './timestamp.js';

export interface ApiLimits {
  /** For each key; for each address where there are no keys. */
  readonly rate: RateLimit;
  readonly coalesce: CoalesceLimits;
  readonly deadlines: Deadlines;
}

export const API_LIMITS: ApiLimits = {
  rate: { perSecond: 5000, burst: 10_000 },
  coalesce: COALESCE_LIMITS,
  deadlines: DEADLINES,
};

export interface ApiOptions {
  readonly risk: RiskReader;
  /** Without it single payments cannot be asked for. */
  readonly payments?: PaymentsReader;
  /** The windows that may be asked for, in milliseconds; the seven days alone when left out. */
  readonly windowsMs?: readonly number[];
  readonly positions: Positions;
  /** What the domains' pages show; none when left out. */
  readonly pictures?: Pictures;
  readonly status: () => StatusDocument | Promise<StatusDocument>;
  /** How replication stood in the last hour. */
  readonly history?: () => readonly StandingSample[];
  readonly retention?: () => Promise<RetentionStanding>;
  /** Without it what it does is refused. */
  readonly control?: Control;
  /** None: everybody may do everything, which is for a service on loopback only. */
  readonly keys: readonly ApiKey[];
  readonly log: Log;
  readonly now?: () => number;
  readonly limits?: Partial<ApiLimits>;
  /** Where the API's metrics go; its own and those of `status` when left out. */
  readonly metrics?: ApiMetrics;
  readonly tracer?: Tracer | undefined;
  readonly version?: string;
}

const DESCRIPTION = `Exact numbers at a stated position of the source's write-ahead log. Money is decimal text and
64-bit ids are text. Every error is an RFC 9457 problem document with a \`fix\`.`;

const refused = (): never => {
  throw new Error('this instance does not replicate');
};
const refusedLater = (): Promise<never> => Promise.reject(new Error('this instance does not replicate'));
const NO_CONTROL: Control = {
  resync: refusedLater,
  resyncAll: refusedLater,
  repair: refusedLater,
  verify: refused,
  pause: refusedLater,
  resume: refused,
};

const NO_PAYMENTS: PaymentsReader = {
  lastPayments: () => Promise.reject(new Error('there are no payments')),
};

const NO_PICTURES: Pictures = {
  pages: [],
  ask: () => Promise.reject(new Error('there are no pictures')),
};

/** The HTTP API. Opens no port: `serveApi` does, and tests ask `app.request` directly. */
export function createApi(options: ApiOptions): Hono<ApiEnv> {
  const { positions, status, log } = options;
  const now = options.now ?? Date.now;
  const limits = { ...API_LIMITS, ...options.limits };
  const metrics = options.metrics ?? new ApiMetrics(standingRegistry(status));

  const coalescer = new Coalescer(options.risk, limits.coalesce, (lane, lookups, ok) =>
    metrics.queried(lane, lookups, ok),
  );
  metrics.watchWaiting(() => coalescer.waiting);
  const guard = new Guard({ keys: options.keys, rate: limits.rate, now });

  const app = new OpenAPIHono<ApiEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalidParts(result.target, result.error);
    },
  });
  app.use(everyRequest(log, metrics, options.tracer));
  app.onError(answerFailure(log));
  addRiskRoutes(app, {
    coalescer,
    payments: options.payments ?? NO_PAYMENTS,
    positions,
    guard,
    now,
    deadlineMs: limits.deadlines.paymentsMs,
    windows: (options.windowsMs ?? []).map((ms) => microsFromMs(ms)),
  });
  addDomainRoutes(app, {
    pictures: options.pictures ?? NO_PICTURES,
    positions,
    guard,
    now,
    deadlineMs: limits.deadlines.picturesMs,
  });
  addOpsRoutes(app, {
    status,
    positions,
    guard,
    registry: metrics.registry,
    history: options.history ?? (() => []),
    deadlineMs: limits.deadlines.retentionMs,
    retention: options.retention ?? (() => Promise.resolve({ tables: {}, last_purge: null })),
  });
  addOrderRoutes(app, {
    guard,
    control: options.control ?? NO_CONTROL,
    deadlineMs: limits.deadlines.ordersMs,
  });
  const pages = addPageRoutes(app, { guard, dashboard: loadDashboard() });

  app.openAPIRegistry.registerComponent('securitySchemes', 'key', { type: 'http', scheme: 'bearer' });
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: { title: 'Walhouse', version: options.version ?? '0', description: DESCRIPTION },
  });
  app.get('/openapi.json', guard.open(), etag(), (context) =>
    context.json(document, 200, { 'cache-control': 'no-cache' }),
  );

  const documented = app.openAPIRegistry.definitions.flatMap((definition): RouteName[] =>
    definition.type === 'route' ? [definition.route] : [],
  );
  app.notFound(
    answerUnknown([...documented, ...[...pages, '/openapi.json'].map((path) => ({ method: 'get', path }))]),
  );
  return app;
}

function standingRegistry(status: ApiOptions['status']): Registry {
  const registry = new Registry();
  addStandingMetrics(registry, status);
  return registry;
}

/** What every answer has, and what the log, the metrics and traces learn of it. */
function everyRequest(log: Log, metrics: ApiMetrics, tracer?: Tracer) {
  return createMiddleware<ApiEnv>(async (context, next) => {
    const startedMs = performance.now();
    const requestId = requestIdOf(context);
    context.set('requestId', requestId);
    const span = tracer?.request((name) => context.req.header(name)) ?? null;
    context.set('span', span);
    await next();

    const { headers } = context.res;
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) headers.set(name, value);
    for (const [name, value] of Object.entries(USUAL_HEADERS))
      if (!headers.has(name)) headers.set(name, value);
    headers.set('x-request-id', requestId);
    const rate = context.get('rate');
    if (rate !== undefined) {
      headers.set('ratelimit-policy', rate.policy);
      headers.set('ratelimit', rate.left);
    }

    const ms = performance.now() - startedMs;
    const { method } = context.req;
    const { status } = context.res;
    const matched = routePath(context, -1);
    const route = matched === '*' || matched === '/*' ? 'unknown' : matched;
    metrics.answered(route, method, status, ms / 1000);
    if (span !== null) {
      span.rename(`${method} ${route}`);
      span.note({
        'http.request.method': method,
        'http.route': route,
        'http.response.status_code': status,
        'walhouse.request_id': requestId,
      });
      span.end(status >= 500 ? String(status) : null);
    }
    const fields = {
      requestId,
      method,
      route,
      status,
      ms: Math.round(ms * 10) / 10,
      caller: context.get('caller') ?? addressOf(context),
    };
    if (status >= 500) log.warn(fields, 'answered');
    else log.debug(fields, 'answered');
  });
}
