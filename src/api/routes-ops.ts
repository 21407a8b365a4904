import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import type { Registry } from 'prom-client';
import type { LastPurge } from '../ops/reports/last-purge.js';
import { SAMPLE_MS } from '../ops/standing-history.js';
import type { StandingSample, StatusDocument } from '../ops/status.js';
import { sinkProblem } from './clickhouse-failure.js';
import { callerSignal, type ApiEnv } from './context.js';
import { within } from './deadline.js';
import { waitUntilApplied } from './freshness.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { problems } from './responses.js';
import { Health, ReplicationQuery, Retention, StandingHistory, Status } from './schemas.js';

export interface OpsRoutesOptions {
  readonly status: () => StatusDocument | Promise<StatusDocument>;
  readonly positions: Positions;
  readonly guard: Guard;
  readonly registry: Registry;
  readonly history: () => readonly StandingSample[];
  readonly retention: () => Promise<RetentionStanding>;
  /** Of the question about retention. */
  readonly deadlineMs: number;
}

/** What is kept for how long, and what was removed last. */
export interface RetentionStanding {
  readonly tables: Readonly<Record<string, { readonly column: string; readonly keep: string }>>;
  readonly last_purge: LastPurge | null;
}

const JSON_HEALTH = { 'application/json': { schema: Health } };

/** `GET /v1/replication`, how it stood in the last hour, retention, health, readiness and metrics. */
export function addOpsRoutes(app: OpenAPIHono<ApiEnv>, options: OpsRoutesOptions): void {
  const { guard, positions, registry } = options;

  const replication = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/v1/replication',
    operationId: 'replication',
    summary: 'How replication stands',
    description:
      'With `min_lsn` it answers once that position is applied, so that a program can wait for its commit.',
    ...guard.needs('ops:read'),
    request: { query: ReplicationQuery },
    responses: {
      200: { description: 'The state.', content: { 'application/json': { schema: Status } } },
      ...problems(400, 401, 403, 429, 503),
    },
  });
  app.openapi(replication, async (context) => {
    const query = context.req.valid('query');
    await waitUntilApplied(context, positions, query.min_lsn, query.wait_ms ?? 0);
    return context.json(await options.status(), 200);
  });

  const history = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/v1/replication/history',
    operationId: 'replicationHistory',
    summary: 'How replication stood in the last hour',
    ...guard.needs('ops:read'),
    responses: {
      200: { description: 'Samples.', content: { 'application/json': { schema: StandingHistory } } },
      ...problems(401, 403, 429),
    },
  });
  app.openapi(history, (context) =>
    context.json({ every_ms: SAMPLE_MS, samples: [...options.history()] }, 200),
  );

  const retention = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/v1/retention',
    operationId: 'retention',
    summary: 'What is kept for how long, and what was removed last',
    ...guard.needs('ops:read'),
    responses: {
      200: {
        description: 'Retention as configured.',
        content: { 'application/json': { schema: Retention } },
      },
      ...problems(401, 403, 429, 503),
    },
  });
  app.openapi(retention, async (context) =>
    context.json(await within(options.deadlineMs, callerSignal(context), () => retentionOf(options)), 200),
  );

  // Health and readiness need no key, so they tell no more than a probe needs. Life is apart from health: whoever restarts what
  // does not live would, by health, restart all tables again and again for the sake of one that waits for a person.
  const livez = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/livez',
    operationId: 'livez',
    summary: 'Whether the process answers at all',
    responses: { 204: { description: 'It does.' } },
  });
  app.openapi(livez, (context) => context.body(null, 204));

  const healthz = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/healthz',
    operationId: 'healthz',
    summary: 'Whether the service, or a table of it, needs a person',
    responses: {
      200: { description: 'It works, or waits for something that passes by itself.', content: JSON_HEALTH },
      503: { description: 'It stopped; GET /v1/replication says why.', content: JSON_HEALTH },
    },
  });
  app.openapi(healthz, async (context) => {
    const status = await options.status();
    const stopped = Object.values(status.tables).find((table) => table.state === 'stopped');
    if (status.state !== 'stopped' && stopped === undefined) {
      return context.json({ status: 'ok' as const, state: status.state }, 200);
    }
    const kind = (status.error ?? stopped?.error)?.kind;
    return context.json(
      { status: 'failing' as const, state: status.state, ...(kind === undefined ? {} : { kind }) },
      503,
    );
  });

  const readyz = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/readyz',
    operationId: 'readyz',
    summary: 'Whether questions are answered now',
    responses: {
      200: { description: 'They are.', content: JSON_HEALTH },
      503: { description: 'They are not; Retry-After says when to look again.', content: JSON_HEALTH },
    },
  });
  app.openapi(readyz, async (context) => {
    const { state } = await options.status();
    if (positions.applied() !== null) return context.json({ status: 'ok' as const, state }, 200);
    const { kind, retryAfterMs } = positions.unavailable();
    context.header('retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000))));
    return context.json({ status: 'failing' as const, state, kind }, 503);
  });

  const metrics = createRoute({
    method: 'get',
    tags: ['Standing'],
    path: '/metrics',
    operationId: 'metrics',
    summary: 'Metrics for Prometheus',
    ...guard.needs('ops:read'),
    responses: {
      200: {
        description: "Prometheus's text format.",
        content: { [registry.contentType]: { schema: z.string() } },
      },
      ...problems(401, 403, 429),
    },
  });
  app.openapi(metrics, async (context) => {
    return context.text(await registry.metrics(), 200, { 'content-type': registry.contentType });
  });
}

async function retentionOf({ retention }: OpsRoutesOptions): Promise<RetentionStanding> {
  try {
    return await retention();
  } catch (error) {
    throw sinkProblem(error);
  }
}
