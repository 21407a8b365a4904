import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@clickhouse/client';
import type pg from 'pg';
import { compareTable, type TableComparison } from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import { compareRisk } from '../../src/ops/compare/risk.js';
import { compareAuditTrail } from './audit-trail.js';
import { RETENTION } from './tables.js';
import type { Transfers } from './transfers.js';
import { DATABASE, SLOT, type World } from './world.js';

/** How long the service may take to come to the source's end, with all tables streaming, once nothing is broken any more. */
const SETTLE_MS_MAX = 90_000;
/** A change of the catalog that leaves no trace in the stream is seen by a look every two seconds, and followed by a new copy. */
const UNSEEN_MS = 3_000;
const FOLLOW_MS_MAX = 30_000;
const LEAVE_MS_MAX = 15_000;
/** How long a question may be told to come again. */
const ANSWER_MS_MAX = 60_000;

/**
 * Compares everything with Postgres while nobody writes. What is different is a violation; so is a service that does not come to rest.
 * `changed`: tables whose columns or files have changed since the last inspection, which may be seen with a delay.
 */
export async function inspect(
  world: World,
  transfers: Transfers,
  changed: ReadonlySet<string>,
  lastChangeAtMs: number,
): Promise<void> {
  const { findings } = world;
  const lsn = await world.persist(
    async (client) =>
      (await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn')).rows[0]!.lsn,
  );
  if (changed.size > 0) await sleep(Math.max(0, lastChangeAtMs + UNSEEN_MS - performance.now()));
  if (!(await settled(world, lsn))) return;
  await compareTables(world, changed);
  if (findings.broken.aborted) return;
  await compareMerchants(world, lsn);
  const audit = await compareAuditTrail(world);
  findings.count('compared:changes of the audit trail', audit.changes);
  if (audit.wrong !== null) findings.violation(`the audit trail: ${audit.wrong}`);
  await lookForLeaks(world);
  await transfersAreAsWritten(world, transfers);
  for (const instance of world.instances) instance.inspectLog();
  findings.count('comparison');
}

/** Waits until the service has applied `lsn` and every table streams, and holds nothing in quarantine. */
async function settled(world: World, lsn: string): Promise<boolean> {
  const { findings } = world;
  const from = performance.now();
  let last = '';
  while (performance.now() - from < SETTLE_MS_MAX && !findings.broken.aborted) {
    for (const { walhouse } of world.live) {
      // A pause outlives a reconnect, so it may be one that a step could not end.
      await fetch(`${walhouse.url}/v1/resume`, { method: 'POST' }).catch(() => undefined);
    }
    const answer = await world.status(`?min_lsn=${encodeURIComponent(lsn)}&wait_ms=1000`);
    last = JSON.stringify(answer?.document ?? 'no answer');
    if (answer?.ok === true && answer.document.state === 'streaming') {
      const tables = Object.entries(answer.document.tables);
      const quarantined = tables.filter(([, table]) => table.quarantined > 0);
      if (quarantined.length > 0) {
        findings.violation(`rows are in quarantine: ${JSON.stringify(quarantined)}`);
        return false;
      }
      if (tables.every(([, { state }]) => state === 'streaming')) {
        findings.note(`at rest after ${Math.round(performance.now() - from)} ms`);
        return true;
      }
    }
    await sleep(100);
  }
  if (!findings.broken.aborted)
    findings.violation(
      `did not come to ${lsn} with all tables streaming within ${SETTLE_MS_MAX / 1000} s: ${last}`,
    );
  return false;
}

async function compareTables(world: World, changed: ReadonlySet<string>): Promise<void> {
  const clickhouse = createClient({ url: world.clickhouse.url, keep_alive: { enabled: false } });
  try {
    for (const id of Object.keys(world.tables)) {
      const deadline = performance.now() + (changed.has(id) ? FOLLOW_MS_MAX : 0);
      for (;;) {
        const found = await world.withPostgres((client) => compareOne(client, clickhouse, id));
        if (found.equal) {
          world.findings.count('compared:tables');
          world.findings.count('compared:rows', found.rowsPostgres);
          break;
        }
        if (performance.now() > deadline) {
          world.findings.violation(`${id} is not the table in Postgres: ${JSON.stringify(found)}`);
          break;
        }
        await sleep(300);
      }
    }
  } finally {
    await clickhouse.close();
  }
}

async function compareOne(
  client: pg.Client,
  clickhouse: ReturnType<typeof createClient>,
  id: string,
): Promise<TableComparison> {
  const name = id.slice('public.'.length);
  return compareTable({
    postgres: client,
    clickhouse,
    relation: await readComparedRelation(client, 'public', name),
    view: { database: DATABASE, name },
    ...(name === 'payments' ? { retention: RETENTION } : {}),
  });
}

/** All merchants there are, now and for a window that the mart does not reach. */
async function compareMerchants(world: World, minLsn: string): Promise<void> {
  const { findings } = world;
  const reading = world.live.length === 1 ? world.active : await whoReads(world);
  await world.withPostgres(async (client) => {
    const { rows } = await client.query<{ id: string }>(
      'select merchant_id::text as id from merchants order by random() limit 900',
    );
    for (const at of [new Date(), new Date(Date.now() - 42 * 86_400_000)]) {
      const compared = await answered(() =>
        compareRisk({
          apiUrl: reading.walhouse.url,
          postgres: client,
          merchantIds: rows.map(({ id }) => BigInt(id)),
          at: at.toISOString(),
          minLsn,
        }),
      );
      findings.count('compared:answers', compared.compared + compared.comparedAlone);
      if (!compared.equal) {
        findings.violation(
          `risk answers at ${compared.at} are not Postgres's: ${JSON.stringify(compared.differences.slice(0, 5))} (${compared.differences.length} differ)`,
        );
      }
    }
  });
}

/** A 503 is allowed at any time, and says to ask again; for ever is too long. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + ANSWER_MS_MAX;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!String(error).includes('the API answered 503') || performance.now() > deadline) throw error;
      await sleep(1_000);
    }
  }
}

async function whoReads(world: World) {
  for (const instance of world.live) {
    const state = await instance.walhouse.status().then(
      (status) => status.state,
      () => null,
    );
    if (state === 'streaming') return instance;
  }
  return world.active;
}

/** One slot with one reader, few connections, nothing half made in ClickHouse. */
async function lookForLeaks(world: World): Promise<void> {
  const { findings } = world;
  const deadline = performance.now() + LEAVE_MS_MAX;
  for (;;) {
    const leaks = await leaksOf(world);
    if (leaks.length === 0) return;
    if (performance.now() > deadline) {
      findings.violation(`left behind: ${leaks.join('; ')}`);
      return;
    }
    await sleep(200);
  }
}

/** Its pool, the stream, a snapshot's holder: more than these are connections that nobody closes. */
const CONNECTIONS_MAX = 6;

async function leaksOf(world: World): Promise<string[]> {
  const leaks: string[] = [];
  await world.withPostgres(async (client) => {
    const slots = await client.query<{ slot_name: string; active: boolean }>(
      'select slot_name, active from pg_replication_slots',
    );
    for (const { slot_name: name } of slots.rows) if (name !== SLOT) leaks.push(`slot ${name}`);
    if (!slots.rows.some(({ slot_name: name, active }) => name === SLOT && active))
      leaks.push('nobody reads the slot');
    const { rows } = await client.query<{ type: string; n: number }>(
      `select backend_type as type, count(*)::int as n from pg_stat_activity where application_name = 'walhouse' group by 1`,
    );
    for (const { type, n } of rows)
      if (n > (type === 'walsender' ? 1 : CONNECTIONS_MAX * world.live.length))
        leaks.push(`${n} connections of type ${type}`);
  });
  const copies = await world.ask<{ name: string }>(
    `select concat(database, '.', name) as name from system.tables where name like '\\_walhouse\\_next%'`,
  );
  return [...leaks, ...copies.map(({ name }) => `table ${name} in ClickHouse`)];
}

/** The invariant of the readers is one of Postgres too; otherwise the run itself is wrong. */
async function transfersAreAsWritten(world: World, transfers: Transfers): Promise<void> {
  const { rows } = await world.withPostgres((client) =>
    client.query<{ count: number; amount: string }>(
      `select count(*)::int as count, sum(amount)::text as amount from payments where payment_id between -2000 and -1`,
    ),
  );
  const { count, amount } = transfers.sums('new');
  if (rows[0]!.count !== count || rows[0]!.amount !== amount)
    world.findings.violation(
      `the run itself is wrong: the pool holds ${JSON.stringify(rows[0])} in Postgres`,
    );
}
