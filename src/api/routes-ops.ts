import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import type { Registry } from 'prom-client';
import type { Dashboard } from '../ops/dashboard.js';
import type { StatusDocument } from '../ops/status.js';
import type { ApiEnv } from './context.js';
import { waitUntilApplied } from './freshness.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { Problem } from './problem.js';
import { problems } from './responses.js';
import { Accepted, Health, ReplicationQuery, Status } from './schemas.js';

export interface OpsRoutesOptions {
  readonly status: () => StatusDocument | Promise<StatusDocument>;
  readonly positions: Positions;
  readonly guard: Guard;
  readonly registry: Registry;
  readonly dashboard: Dashboard;
  readonly control: Control;
}

/** What an operator may have the service do. */
export interface Control {
  /** False when the table is not configured. Resolves when it is remembered; the work goes on behind. */
  resync(table: string): Promise<boolean>;
  resyncAll(): Promise<void>;
  pause(): Promise<void>;
  resume(): void;
}

const JSON_HEALTH = { 'application/json': { schema: Health } };

/** `GET /v1/replication`, health, readiness, metrics and the dashboard. */
export function addOpsRoutes(app: OpenAPIHono<ApiEnv>, options: OpsRoutesOptions): void {
  const { guard, positions, registry, dashboard, control } = options;

  const replication = createRoute({
    method: 'get',
    path: '/v1/replication',
    operationId: 'replication',
    summary: 'How replication stands',
    description:
      'With `min_lsn` it answers once that position is applied, so that a program can wait for its commit.',
    security: [{ key: ['ops:read'] }],
    middleware: [guard.scope('ops:read')] as const,
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

  const accepted = {
    202: {
      description: 'It has begun; GET /v1/replication shows how far it is.',
      content: { 'application/json': { schema: Accepted } },
    },
    ...problems(400, 401, 403, 404, 409, 429, 503),
  };
  const resyncTable = createRoute({
    method: 'post',
    path: '/v1/tables/{id}/resync',
    operationId: 'resyncTable',
    summary: 'Snapshots a table again, beside what people read',
    request: { params: z.object({ id: z.string().min(1).max(200) }) },
    responses: accepted,
    security: [{ key: ['ops:write'] }],
    middleware: [guard.scope('ops:write')] as const,
  });
  app.openapi(resyncTable, async (context) => {
    const { id } = context.req.valid('param');
    if (!(await control.resync(id))) {
      throw new Problem({
        status: 404,
        kind: 'table_unknown',
        title: 'No such table',
        detail: `${id} is not among the configured tables.`,
        fix: 'name it as walhouse.yaml does: schema.table; GET /v1/replication lists them',
      });
    }
    return context.json({ accepted: true as const }, 202);
  });
  const resyncAll = createRoute({
    method: 'post',
    path: '/v1/resync',
    operationId: 'resyncAll',
    summary: 'Snapshots every table again; after a lost slot it begins again with everything',
    responses: accepted,
    security: [{ key: ['ops:write'] }],
    middleware: [guard.scope('ops:write')] as const,
  });
  app.openapi(resyncAll, async (context) => {
    await control.resyncAll();
    return context.json({ accepted: true as const }, 202);
  });
  for (const verb of ['pause', 'resume'] as const) {
    const route = createRoute({
      method: 'post',
      path: `/v1/${verb}`,
      operationId: verb,
      summary: verb === 'pause' ? 'Stops reading; the slot stays' : 'Goes on after a pause',
      responses: accepted,
      security: [{ key: ['ops:write'] }],
      middleware: [guard.scope('ops:write')] as const,
    });
    app.openapi(route, async (context) => {
      try {
        await control[verb]();
      } catch (error) {
        throw new Problem({
          status: 409,
          kind: 'not_now',
          title: 'Not in this state',
          detail: error instanceof Error ? error.message : String(error),
          fix: 'look at the state in GET /v1/replication',
        });
      }
      return context.json({ accepted: true as const }, 202);
    });
  }

  // Health and readiness need no key, so they tell no more than a probe needs.
  const healthz = createRoute({
    method: 'get',
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
    path: '/metrics',
    operationId: 'metrics',
    summary: 'Metrics for Prometheus',
    security: [{ key: ['ops:read'] }],
    middleware: [guard.scope('ops:read')] as const,
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

  app.get('/', guard.open(), (context) =>
    context.body(dashboard.html, 200, {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': dashboard.contentSecurityPolicy,
    }),
  );
}
