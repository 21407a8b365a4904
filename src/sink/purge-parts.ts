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

/** Rows in active parts that meet a condition; those that a lightweight DELETE only hides count. */
export async function countVersions(server: Server, table: TableName, condition: string): Promise<number> {
  const [found] = await unlessGone(
    () =>
      server.rows<{ versions: string }>(
        `select toString(count()) as versions from ${qualified(table.database, table.name)}
          where ${condition} settings apply_deleted_mask = 0`,
        `looking what ${table.name} holds`,
      ),
    [{ versions: '0' }],
  );
  return Number(found!.versions);
}

export async function findRows(server: Server, table: TableName, condition: string): Promise<FoundRows> {
  const versions = await countVersions(server, table, condition);
  const [parts] = await server.rows<{ inactive: string; detached: string }>(
    `select toString((select count() from system.parts where not active and ${isAnyOf([table])})) as inactive,
            toString((select count() from system.detached_parts where ${isAnyOf([table])})) as detached`,
    `looking at the parts of ${table.name}`,
  );
  return { versions, inactiveParts: Number(parts!.inactive), detachedParts: Number(parts!.detached) };
}

/** Rewrites the active parts without the rows; parts without such rows are only linked. Resolves when no active part has them. */
export async function removeRows(server: Server, table: TableName, condition: string): Promise<void> {
  const name = qualified(table.database, table.name);
  const doing = `removing rows from ${table.name}`;
  const [masked] = await server.rows<{ parts: string }>(
    `select toString(count()) as parts from system.parts where active and has_lightweight_delete and ${isAnyOf([table])}`,
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
  const before = await settingsOf(server, tables);
  const alter = (table: TableName, change: string): Promise<void> =>
    unlessGone(
      () =>
        server.define(
          `alter table ${qualified(table.database, table.name)} ${change}`,
          `changing settings of ${table.name}`,
        ),
      undefined,
    );
  try {
    const { old_parts_lifetime: lifetime, ...synced } = HASTY;
    for (const table of tables) await alter(table, `modify setting ${list(synced)}`);
    await remove();
    const isSynced = await succeeds(() => server.define('system sync file cache', 'syncing files'));
    const leaves = { old_parts_lifetime: isSynced ? lifetime : UNSYNCED_SECONDS };
    for (const table of tables) await alter(table, `modify setting ${list(leaves)}`);
    await waitUntilGone(server, tables, waitMsMax);
  } finally {
    for (const [table, had] of before) {
      const names = Object.keys(HASTY).filter((name) => !Object.hasOwn(had, name));
      if (names.length > 0) await alter(table, `reset setting ${names.join(', ')}`);
      if (Object.keys(had).length > 0) await alter(table, `modify setting ${list(had)}`);
    }
  }
}

async function waitUntilGone(server: Server, tables: readonly TableName[], waitMsMax: number): Promise<void> {
  const inactive = async (): Promise<string[]> => {
    const rows = await server.rows<{ part: string }>(
      `select concat(database, '.', table, ' ', name) as part from system.parts where not active and ${isAnyOf(tables)}`,
      'waiting for old parts to go',
    );
    return rows.map(({ part }) => part);
  };
  const deadline = performance.now() + waitMsMax;
  let left = await inactive();
  while (left.length > 0) {
    if (performance.now() > deadline) {
      throw new WalhouseError('sink_timeout', {
        what: `${left.length} parts that were replaced are still on disk: ${left.slice(0, 3).join(', ')}.`,
        why: 'What was removed may be in them, so it cannot be said that it is gone.',
        fix: 'look in system.processes for a query that reads them, or for SYSTEM STOP CLEANUP, and run the command again',
      });
    }
    // Otherwise an idle table may rest for minutes before it cleans up.
    for (const table of tables) {
      if (!left.some((part) => part.startsWith(`${table.database}.${table.name} `))) continue;
      await succeeds(() =>
        server.define(`system start cleanup ${qualified(table.database, table.name)}`, 'cleaning up'),
      );
    }
    await sleep(LOOK_MS);
    const now = new Set(await inactive());
    left = left.filter((part) => now.has(part));
  }
}

/** Of the settings that are changed, those that a table has of its own. */
async function settingsOf(
  server: Server,
  tables: readonly TableName[],
): Promise<Map<TableName, Readonly<Record<string, string>>>> {
  const rows = await server.rows<TableName & { engine: string }>(
    `select database, name, engine_full as engine from system.tables where ${isAnyOf(tables, 'name')}`,
    'reading settings of tables',
  );
  return new Map(
    tables.map((table) => {
      const row = rows.find(({ database, name }) => database === table.database && name === table.name);
      const had: Record<string, string> = {};
      for (const setting of Object.keys(HASTY)) {
        const value = new RegExp(`\\b${setting} = (\\d+)`).exec(row?.engine ?? '')?.[1];
        if (value !== undefined) had[setting] = value;
      }
      return [table, had];
    }),
  );
}

function list(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ');
}

function isAnyOf(tables: readonly TableName[], column = 'table'): string {
  const names = tables.map(({ database, name }) => `(${quoteString(database)}, ${quoteString(name)})`);
  return `(database, ${column}) in (${names.join(', ')})`;
}

/** A stage may take its place, or be given up, while it is looked at: then its name holds nothing. */
async function unlessGone<T>(work: () => Promise<T>, gone: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WalhouseError && /\(UNKNOWN_TABLE\b/.test(error.what)) return gone;
    throw error;
  }
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
