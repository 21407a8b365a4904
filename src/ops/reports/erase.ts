import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Client } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import { formatLsn, lsnFrom, type Lsn } from '../../pipeline/lsn.js';
import type { Relation } from '../../pipeline/relation.js';
import { erase as eraseRows, tablesOf, type Follow, type FoundKeys } from '../../sink/erase.js';
import { isProven } from '../../sink/purge.js';
import { readRelations } from '../../source/catalog.js';
import { connect, destroy } from '../../source/connection.js';
import type { TablesStanding } from '../verify/applied.js';
import { reportedTables, type ErasureReport } from './report.js';
import { canonicalKey, castsOf, countRows } from './source-rows.js';

/** How long Postgres may take to hear that everything before the position is stored. */
const CONFIRM_MS = 60_000;
/** How long a table may take to be whole: one that is snapshotted may hold rows of long ago. */
const WHOLE_MS = 10 * 60_000;
const LOOK_MS = 100;
/** How many keys are held at once. */
const KEYS_AT_ONCE = 50_000;

export interface EraseCommand {
  readonly sourceUrl: string;
  readonly slot: string;
  readonly clickhouse: ClickHouseClient;
  readonly database: string;
  readonly table: string;
  /** Makes the key's values out of what was typed, given the names of its columns. */
  readonly key: (columns: readonly string[]) => readonly string[];
  readonly follow: readonly Follow[];
  /** Erases here what the source still has. */
  readonly althoughInSource: boolean;
  readonly version: string;
  /** Waits until a position is applied, and says how the tables stand. */
  readonly applied: (position: Lsn) => Promise<TablesStanding>;
}

/**
 * Erases a subject once nothing that is still to come could bring it back: the source has it no more, everything that was committed by
 * then is stored, and Postgres has been told so. `reference` is in no report; with it anybody can tell whom the report is about.
 *
 * Rejects with `erase_refused` while the source has the subject.
 */
export async function erase(command: EraseCommand): Promise<{ report: ErasureReport; reference: string }> {
  const startedAt = new Date().toISOString();
  const { table, follow, clickhouse, database } = command;
  const client = await connect(command.sourceUrl, 'sql');
  try {
    const ids = tablesOf(table, follow);
    const relations = new Map(
      (await readRelations(client, ids)).map((relation) => [relation.id, relation] as const),
    );
    const root = relations.get(table)!;
    const key = await canonicalKey(client, root, command.key(keyNames(root)));
    const inSource = async (found: readonly FoundKeys[]): Promise<Record<string, number>> => {
      const counts = await rowsInSource(client, relations, follow, found);
      if (!command.althoughInSource) refuseIfInSource(counts, command);
      return counts;
    };
    // Before anybody waits for anything.
    let counts = await inSource([
      { table, columns: keyNames(root), texts: (offset) => Promise.resolve(offset === 0 ? [[...key]] : []) },
    ]);
    const position = await currentLsn(client);
    await waitUntilWhole(command, position, ids);
    await waitUntilConfirmed(client, command.slot, position);
    const { holders, rows } = await eraseRows({
      client: clickhouse,
      database,
      table,
      key,
      follow,
      position,
      confirm: async (found) => {
        counts = await inSource(found);
      },
    });
    const reference = randomBytes(16).toString('hex');
    const report: ErasureReport = {
      kind: 'erase',
      command: `walhouse erase ${table} --key (left out)${command.althoughInSource ? ' --although-in-source' : ''}`,
      walhouse: command.version,
      database,
      started_at: startedAt,
      finished_at: new Date().toISOString(),
      proven: isProven(holders),
      table,
      subject: subjectOf(reference, table, key),
      rows,
      position: formatLsn(position),
      in_source: counts,
      tables: reportedTables(holders),
    };
    return { report, reference };
  } finally {
    destroy(client);
  }
}

/** What stands for a subject in a report. */
export function subjectOf(reference: string, table: string, key: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([reference, table, key]))
    .digest('hex');
}

function keyNames(relation: Relation): string[] {
  return relation.key.map((column) => relation.columns[column]!.name);
}

/** Rows of the subject, and rows that belong to it, found by the keys that ClickHouse has of them: theirs may be gone in the source. */
async function rowsInSource(
  client: Client,
  relations: ReadonlyMap<string, Relation>,
  follow: readonly Follow[],
  found: readonly FoundKeys[],
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const keys of found) {
    const { table, columns } = keys;
    const asked: [string, readonly string[]][] = [
      [table, columns],
      ...follow
        .filter(({ of }) => of === table)
        .map((next): [string, readonly string[]] => [next.table, next.columns]),
    ];
    for (let offset = 0; ; offset += KEYS_AT_ONCE) {
      const some = await keys.texts(offset, KEYS_AT_ONCE);
      if (some.length === 0) break;
      for (const [id, names] of asked) {
        const relation = relations.get(id)!;
        const count = await countRows(client, relation, await castsOf(client, relation, names), some);
        // A row may be found by its own key and by the one that it belongs to.
        counts[id] = Math.max(counts[id] ?? 0, count);
      }
    }
  }
  return counts;
}

function refuseIfInSource(counts: Readonly<Record<string, number>>, { table }: EraseCommand): void {
  const there = Object.entries(counts).filter(([, count]) => count > 0);
  if (there.length === 0) return;
  throw new WalhouseError('erase_refused', {
    what: `the source still has it: ${there.map(([id, count]) => `${count} rows of ${id}`).join(', ')}.`,
    why: 'They would come back with their next change, a resync or a repair.',
    fix: `delete them in Postgres first, and run walhouse erase ${table} again; or --although-in-source`,
  });
}

async function currentLsn(client: Client): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>(
    `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end)::text as lsn`,
  );
  return lsnFrom(rows[0]!.lsn);
}

/** A copy that was begun before the position may bring what was deleted since; one that begins later cannot. */
async function waitUntilWhole(
  { applied }: EraseCommand,
  position: Lsn,
  ids: readonly string[],
): Promise<void> {
  const deadline = performance.now() + WHOLE_MS;
  for (;;) {
    const status = await applied(position);
    const other = ids.find((id) => status.tables[id]?.state !== 'streaming');
    if (other === undefined) return;
    const state = status.tables[other]?.state ?? 'not followed';
    if (state === 'stopped' || state === 'not followed' || performance.now() > deadline) {
      throw new WalhouseError('erase_refused', {
        what: `${other} is ${state}.`,
        why: 'What is still to be stored of it may hold what is to be erased.',
        fix: 'walhouse status says what it needs; erase when it is streaming',
      });
    }
    await sleep(LOOK_MS);
  }
}

async function waitUntilConfirmed(client: Client, slot: string, position: Lsn): Promise<void> {
  const deadline = performance.now() + CONFIRM_MS;
  for (;;) {
    const { rows } = await client.query<{ done: boolean }>(
      'select confirmed_flush_lsn >= $2::pg_lsn as done from pg_replication_slots where slot_name = $1',
      [slot, formatLsn(position)],
    );
    if (rows[0]?.done === true) return;
    if (performance.now() > deadline) {
      throw new WalhouseError('erase_refused', {
        what: `slot "${slot}" does not stand at ${formatLsn(position)} yet.`,
        why: 'What it delivers again may hold what is to be erased.',
        fix: 'walhouse status says whether the service goes on; run the command again when it does',
      });
    }
    await sleep(LOOK_MS);
  }
}
