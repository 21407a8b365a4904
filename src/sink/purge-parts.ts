import { setTimeout as sleep } from 'node:timers/promises';
import { WalhouseError } from '../pipeline/errors.js';
import { qualified, quoteString } from './identifier.js';
import type { Server } from './server.js';

/** A table in ClickHouse, by its names. */
export interface TableName {
  readonly database: string;
  readonly name: string;
}

/** What a table's parts hold of the rows in question. */
export interface FoundRows {
  /** Versions in active parts, rows that a lightweight DELETE only hides included. */
  readonly versions: number;
  /** Parts that a merge or a mutation has replaced, still on disk. Nothing can read them, so all of them are suspect. */
  readonly inactiveParts: number;
  /** Parts that somebody has detached, which no mutation reaches. */
  readonly detachedParts: number;
}

/** How long parts that are no longer active may take to leave the disk: a query that reads one keeps it there. */
const LEAVE_MS_MAX = 15 * 60_000;
const LOOK_MS = 250;
/**
 * While a purge runs, merged parts are synced as they are written, and parts that they replace go at once. A process that dies in
 * between leaves a table that is slower to merge and as safe as before.
 */
const HASTY = {
  min_rows_to_fsync_after_merge: '1',
  min_compressed_bytes_to_fsync_after_merge: '1',
  old_parts_lifetime: '1',
} as const;
/** Without the right to have all files synced, as long as the kernel may take to write what earlier merges have written. */
const UNSYNCED_SECONDS = '40';

/** `and` conditions are over the table's columns; rows that a lightweight DELETE hides count. */
export async function findRows(server: Server, table: TableName, condition: string): Promise<FoundRows> {
  const doing = `looking what ${table.name} holds`;
  const [found] = await server.rows<{ versions: string }>(
    `select toString(count()) as versions from ${qualified(table.database, table.name)}
      where ${condition} settings apply_deleted_mask = 0`,
    doing,
  );
  const [parts] = await server.rows<{ inactive: string; detached: string }>(
    `select toString((select count() from system.parts where not active and ${isTable(table)})) as inactive,
            toString((select count() from system.detached_parts where ${isTable(table)})) as detached`,
    doing,
  );
  return {
    versions: Number(found!.versions),
    inactiveParts: Number(parts!.inactive),
    detachedParts: Number(parts!.detached),
  };
}

/** Rewrites the active parts without the rows; parts without such rows are only linked. Resolves when no active part has them. */
export async function removeRows(server: Server, table: TableName, condition: string): Promise<void> {
  const name = qualified(table.database, table.name);
  const doing = `removing rows from ${table.name}`;
  const [masked] = await server.rows<{ parts: string }>(
    `select toString(count()) as parts from system.parts where active and has_lightweight_delete and ${isTable(table)}`,
    doing,
  );
  // What is only hidden is passed over by a mutation.
  if (masked?.parts !== '0')
    await server.longCommand(`alter table ${name} apply deleted mask settings mutations_sync = 1`, doing);
  await server.longCommand(
    `alter table ${name} delete where ${condition} settings mutations_sync = 1`,
    doing,
  );
}

/**
 * Runs `remove` and then waits until every part of these tables that it or anything before it replaced has left the disk. Beside a running
 * service too: parts that are replaced later came from those that `remove` has left.
 */
export async function withoutOldParts(
  server: Server,
  tables: readonly TableName[],
  remove: () => Promise<void>,
  waitMsMax = LEAVE_MS_MAX,
): Promise<void> {
  const restored: string[] = [];
  const set = (table: TableName, settings: Readonly<Record<string, string>>): Promise<void> =>
    server.define(
      `alter table ${qualified(table.database, table.name)} modify setting ${Object.entries(settings)
        .map(([name, value]) => `${name} = ${value}`)
        .join(', ')}`,
      `hastening ${table.name}`,
    );
  try {
    const { old_parts_lifetime: lifetime, ...synced } = HASTY;
    for (const table of tables) {
      restored.push(...(await settingsBefore(server, table)));
      await set(table, synced);
    }
    await remove();
    const isSynced = await succeeds(() => server.define('system sync file cache', 'syncing files'));
    for (const table of tables)
      await set(table, { old_parts_lifetime: isSynced ? lifetime : UNSYNCED_SECONDS });
    for (const table of tables) await waitUntilGone(server, table, waitMsMax);
  } finally {
    for (const statement of restored) await server.define(statement, 'restoring settings of a table');
  }
}

async function waitUntilGone(server: Server, table: TableName, waitMsMax: number): Promise<void> {
  const inactive = (names: readonly string[] | null): Promise<{ name: string }[]> =>
    server.rows<{ name: string }>(
      `select name from system.parts where not active and ${isTable(table)}
        ${names === null ? '' : 'and name in {names:Array(String)}'}`,
      `waiting for old parts of ${table.name}`,
      names === null ? {} : { names },
    );
  const deadline = performance.now() + waitMsMax;
  let left = (await inactive(null)).map(({ name }) => name);
  while (left.length > 0) {
    if (performance.now() > deadline) {
      throw new WalhouseError('sink_timeout', {
        what: `${left.length} parts of ${table.database}.${table.name} that were replaced are still on disk.`,
        why: 'What was removed may be in them, so it cannot be said that it is gone.',
        fix: 'look in system.processes for a query that reads them, or for SYSTEM STOP CLEANUP, and run the command again',
      });
    }
    // Otherwise an idle table may rest for minutes before it cleans up.
    await succeeds(() =>
      server.define(`system start cleanup ${qualified(table.database, table.name)}`, 'cleaning up'),
    );
    await sleep(LOOK_MS);
    left = (await inactive(left)).map(({ name }) => name);
  }
}

/** The statements that give a table the settings again that it has now. */
async function settingsBefore(server: Server, table: TableName): Promise<string[]> {
  const [row] = await server.rows<{ engine: string }>(
    `select engine_full as engine from system.tables where database = ${quoteString(table.database)} and name = ${quoteString(table.name)}`,
    `reading the settings of ${table.name}`,
  );
  const name = qualified(table.database, table.name);
  return Object.keys(HASTY).map((setting) => {
    const value = new RegExp(`\\b${setting} = (\\d+)`).exec(row?.engine ?? '')?.[1];
    return value === undefined
      ? `alter table ${name} reset setting ${setting}`
      : `alter table ${name} modify setting ${setting} = ${value}`;
  });
}

function isTable({ database, name }: TableName): string {
  return `database = ${quoteString(database)} and table = ${quoteString(name)}`;
}

async function succeeds(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof WalhouseError && error.policy === 'stop') return false;
    throw error;
  }
}
