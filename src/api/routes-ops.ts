import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import type { Registry } from 'prom-client';
import type { Dashboard } from '../ops/dashboard.js';
import type { StatusDocument } from '../ops/status.js';
import { sleep } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import { formatLsn } from '../pipeline/lsn.js';
import { REPAIR_KEYS_MAX, type RepairReport } from '../pipeline/repairs.js';
import type { ApiEnv } from './context.js';
import { waitUntilApplied } from './freshness.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { Problem } from './problem.js';
import { problems } from './responses.js';
import { Accepted, Health, RepairedRows, RepairKeys, ReplicationQuery, Status } from './schemas.js';

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
  /** Stores the source's rows of these keys anew; null when the table is not configured. Rejects with a WalhouseError. */
  repair(table: string, keys: readonly (readonly string[])[]): Promise<RepairReport | null>;
  pause(): Promise<void>;
  resume(): void;
}

const JSON_HEALTH = { 'application/json': { schema: Health } };

/** `GET /v1/replication`, health, readiness, metrics and the dashboard's pages. */
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
    if (!(await control.resync(id))) throw unknownTable(id);
    return context.json({ accepted: true as const }, 202);
  });
  addRepairRoute(app, options);
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
        if (error instanceof Problem) throw error;
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

  // Health and readiness need no key, so they tell no more than a probe needs. Life is apart from health: whoever restarts what
  // does not live would, by health, restart all tables again and again for the sake of one that waits for a person.
  const livez = createRoute({
    method: 'get',
    path: '/livez',
    operationId: 'livez',
    summary: 'Whether the process answers at all',
    responses: { 204: { description: 'It does.' } },
  });
  app.openapi(livez, (context) => context.body(null, 204));

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

  for (const [path, page] of [
    ['/', dashboard.overview],
    ['/domains/:name', dashboard.domain],
  ] as const)
    app.get(path, guard.open(), (context) =>
      context.body(page.html, 200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': page.contentSecurityPolicy,
      }),
    );
  app.get('/assets/chart.js', guard.open(), (context) =>
    context.body(dashboard.chartLibrary, 200, {
      'content-type': 'text/javascript; charset=utf-8',
      'cache-control': 'max-age=3600',
    }),
  );
}

/** How long a repair is waited for; it goes on behind, and the next one waits for it. */
const REPAIR_MS = 45_000;
const REPAIR_BODY_MAX_BYTES = 8 * 1024 * 1024;

function addRepairRoute(app: OpenAPIHono<ApiEnv>, { guard, control }: OpsRoutesOptions): void {
  const repair = createRoute({
    method: 'post',
    path: '/v1/tables/{id}/repair',
    operationId: 'repairTable',
    summary: `Stores the source's rows of up to ${REPAIR_KEYS_MAX} keys anew, marts included`,
    description:
      'What ClickHouse has under these keys and the source has not is hidden. It may be asked for again at any time. `walhouse verify --repair` finds the keys.',
    security: [{ key: ['ops:write'] }],
    middleware: [
      guard.scope('ops:write'),
      bodyLimit({
        maxSize: REPAIR_BODY_MAX_BYTES,
        onError: () => {
          throw repairTooLarge(`A body may have ${REPAIR_BODY_MAX_BYTES} bytes.`);
        },
      }),
    ] as const,
    request: {
      params: z.object({ id: z.string().min(1).max(200) }),
      body: { required: true, content: { 'application/json': { schema: RepairKeys } } },
    },
    responses: {
      200: {
        description: 'The rows are stored.',
        content: { 'application/json': { schema: RepairedRows } },
      },
      ...problems(400, 401, 403, 404, 413, 415, 429, 503),
    },
  });
  app.openapi(repair, async (context) => {
    const { id } = context.req.valid('param');
    const { keys } = context.req.valid('json');
    const done = await repaired(control, id, keys);
    if (done === null) throw unknownTable(id);
    const { position, ...counts } = done;
    return context.json({ position: formatLsn(position), ...counts }, 200);
  });
}

async function repaired(
  control: Control,
  id: string,
  keys: readonly (readonly string[])[],
): Promise<RepairReport | null> {
  const patience = new AbortController();
  const work = control.repair(id, keys);
  // Whoever waited for it may have gone.
  work.catch(() => undefined);
  try {
    const done = await Promise.race([work, sleep(REPAIR_MS, patience.signal).then(() => 'late' as const)]);
    if (done !== 'late') return done;
  } catch (error) {
    if (!(error instanceof WalhouseError)) throw error;
    if (error.kind === 'repair_too_large') throw repairTooLarge(error.what);
    const rejected = error.kind === 'source_rejected';
    throw new Problem({
      status: rejected ? 400 : 503,
      kind: error.kind,
      title: 'The rows were not repaired.',
      detail: `${error.what} ${error.why}`,
      fix: error.fix,
      ...(rejected ? {} : { retryAfterMs: 1_000 }),
      cause: error,
    });
  } finally {
    patience.abort();
  }
  throw new Problem({
    status: 503,
    kind: 'repair_interrupted',
    title: 'The rows were not repaired.',
    detail:
      'It takes longer than a request may: a snapshot waits for every transaction that is open in the source.',
    fix: 'ask again; end transactions that have been open for long (pg_stat_activity)',
    retryAfterMs: 1_000,
  });
}

function repairTooLarge(detail: string): Problem {
  return new Problem({
    status: 413,
    kind: 'repair_too_large',
    title: 'The rows are too large to be repaired at once.',
    detail,
    fix: 'name fewer keys in one request',
  });
}

function unknownTable(id: string): Problem {
  return new Problem({
    status: 404,
    kind: 'table_unknown',
    title: 'No such table',
    detail: `${id} is not among the configured tables.`,
    fix: 'name it as walhouse.yaml does: schema.table; GET /v1/replication lists them',
  });
}
