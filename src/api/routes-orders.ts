import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { endsWithin } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import { formatLsn } from '../pipeline/lsn.js';
import { REPAIR_KEYS_MAX, type RepairReport } from '../pipeline/repairs.js';
import type { ApiEnv } from './context.js';
import { within } from './deadline.js';
import type { Guard } from './guard.js';
import { Problem } from './problem.js';
import { problems } from './responses.js';
import { Accepted, RepairedRows, RepairKeys } from './schemas.js';

/** What an operator may have the service do. */
export interface Control {
  /** False when the table is not configured. Resolves when it is remembered; the work goes on behind. */
  resync(table: string): Promise<boolean>;
  resyncAll(): Promise<void>;
  /** Stores the source's rows of these keys anew; null when the table is not configured. Rejects with a WalhouseError. */
  repair(table: string, keys: readonly (readonly string[])[]): Promise<RepairReport | null>;
  /** Has a table, or all, compared with the source in the background; false when the table is not configured. */
  verify(table: string | null): boolean;
  pause(): Promise<void>;
  resume(): void;
}

export interface OrderRoutesOptions {
  readonly guard: Guard;
  readonly control: Control;
  /** Until an order is remembered. */
  readonly deadlineMs: number;
}

const TableParams = z.object({ id: z.string().min(1).max(200) });

/** What operators order: `POST /v1/pause`, `/v1/resume`, `/v1/resync`, `/v1/verify`, and for a table resync, verify and repair. */
export function addOrderRoutes(app: OpenAPIHono<ApiEnv>, options: OrderRoutesOptions): void {
  const { guard, control, deadlineMs } = options;
  // An order that was given is carried out, whether or not somebody waits for the answer.
  const remembered = <T>(order: () => Promise<T>): Promise<T> => within(deadlineMs, null, order, orderLate);

  const accepted = {
    202: {
      description: 'It has begun; GET /v1/replication shows how far it is.',
      content: { 'application/json': { schema: Accepted } },
    },
    ...problems(400, 401, 403, 404, 409, 429, 503),
  };
  const order = {
    method: 'post' as const,
    tags: ['Orders'],
    responses: accepted,
    ...guard.needs('ops:write'),
  };
  const ofTable = { request: { params: TableParams } };
  const resyncTable = createRoute({
    ...order,
    ...ofTable,
    path: '/v1/tables/{id}/resync',
    operationId: 'resyncTable',
    summary: 'Snapshots a table again, beside what people read',
  });
  app.openapi(resyncTable, async (context) => {
    const { id } = context.req.valid('param');
    if (!(await remembered(() => control.resync(id)))) throw unknownTable(id);
    return context.json({ accepted: true as const }, 202);
  });
  addRepairRoute(app, options);
  const resyncAll = createRoute({
    ...order,
    path: '/v1/resync',
    operationId: 'resyncAll',
    summary: 'Snapshots every table again; after a lost slot it begins again with everything',
  });
  app.openapi(resyncAll, async (context) => {
    await remembered(() => control.resyncAll());
    return context.json({ accepted: true as const }, 202);
  });
  const verifyTable = createRoute({
    ...order,
    ...ofTable,
    path: '/v1/tables/{id}/verify',
    operationId: 'verifyTable',
    summary: 'Compares a table, and the marts that it feeds, with the source in the background',
    description: 'What it finds is in GET /v1/replication, under `verify` of the table.',
  });
  app.openapi(verifyTable, (context) => {
    const { id } = context.req.valid('param');
    if (!control.verify(id)) throw unknownTable(id);
    return context.json({ accepted: true as const }, 202);
  });
  const verifyAll = createRoute({
    ...order,
    path: '/v1/verify',
    operationId: 'verifyAll',
    summary: 'Compares every table and mart with the source in the background',
  });
  app.openapi(verifyAll, (context) => {
    control.verify(null);
    return context.json({ accepted: true as const }, 202);
  });
  for (const verb of ['pause', 'resume'] as const) {
    const route = createRoute({
      ...order,
      path: `/v1/${verb}`,
      operationId: verb,
      summary: verb === 'pause' ? 'Stops reading; the slot stays' : 'Goes on after a pause',
    });
    app.openapi(route, async (context) => {
      try {
        await remembered(async () => control[verb]());
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
}

function orderLate(deadlineMs: number): Problem {
  return new Problem({
    status: 503,
    kind: 'order_late',
    title: 'It is not known yet whether the order is carried out.',
    detail: `It was given, and not remembered within ${deadlineMs} ms: a database does not answer.`,
    fix: 'look at the state in GET /v1/replication; giving the order again does no harm',
    retryAfterMs: 5_000,
  });
}

/** How long a repair is waited for; it goes on behind, and the next one waits for it. */
const REPAIR_MS = 45_000;
const REPAIR_BODY_MAX_BYTES = 8 * 1024 * 1024;

function addRepairRoute(app: OpenAPIHono<ApiEnv>, { guard, control }: OrderRoutesOptions): void {
  const repair = createRoute({
    method: 'post',
    tags: ['Orders'],
    path: '/v1/tables/{id}/repair',
    operationId: 'repairTable',
    summary: `Stores the source's rows of up to ${REPAIR_KEYS_MAX} keys anew, marts included`,
    description:
      'What ClickHouse has under these keys and the source has not is hidden. It may be asked for again at any time. `walhouse verify --repair` finds the keys.',
    ...guard.needs(
      'ops:write',
      bodyLimit({
        maxSize: REPAIR_BODY_MAX_BYTES,
        onError: () => {
          throw repairTooLarge(`A body may have ${REPAIR_BODY_MAX_BYTES} bytes.`);
        },
      }),
    ),
    request: {
      params: TableParams,
      body: { required: true, content: { 'application/json': { schema: RepairKeys } } },
    },
    responses: {
      200: {
        description: 'The rows are stored.',
        content: { 'application/json': { schema: RepairedRows } },
      },
      ...problems(400, 401, 403, 404, 409, 413, 415, 429, 503),
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
  const work = control.repair(id, keys);
  // Whoever waited for it may have gone.
  work.catch(() => undefined);
  try {
    if (await endsWithin(REPAIR_MS, work)) return await work;
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
