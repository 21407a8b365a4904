import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../pipeline/errors.js';
import type { Lsn } from '../pipeline/lsn.js';
import { versionBound } from '../pipeline/version.js';
import { dropLeftKeys, EraseKeys, type Link } from './erase-keys.js';
import { ErasePositions } from './erase-positions.js';
import { databasesFor } from './names.js';
import { removeDoomed, type Doomed, type PurgedHolder } from './purge.js';
import { findHolders, landingOf, type Holder } from './purge-holders.js';
import { Server } from './server.js';

/** Rows of `table` whose `columns` hold a key of `of` go with it. */
export interface Follow {
  readonly of: string;
  readonly table: string;
  /** In the order of `of`'s key. */
  readonly columns: readonly string[];
}

export interface EraseOptions {
  readonly client: ClickHouseClient;
  /** The database that people query. */
  readonly database: string;
  /** The table that the subject is a row of, as `schema.name`. */
  readonly table: string;
  /** Its key as Postgres prints it, in the order of the key's columns. */
  readonly key: readonly string[];
  readonly follow: readonly Follow[];
  /** Everything before it is stored, and is not delivered again while the slot stands where it does. */
  readonly position: Lsn;
  /** Called with what was found, before anything is removed; what it throws ends the erasure. */
  readonly confirm: (found: readonly FoundKeys[]) => Promise<void>;
}

/** Rows of one table that are about to be erased. */
export interface FoundKeys {
  readonly table: string;
  /** Names of the key's columns. */
  readonly columns: readonly string[];
  /** A piece of their keys, as texts; empty behind the last. */
  texts(offset: number, limit: number): Promise<string[][]>;
}

export interface Erased {
  readonly holders: readonly PurgedHolder[];
  /** By source table. */
  readonly rows: Readonly<Record<string, { readonly erased: number; readonly kept: number }>>;
}

/**
 * Removes one row, what follows it, and every older version of them, from every table that holds any, and reads all parts afterwards. Only
 * what was committed before `position` is touched.
 */
export async function erase(options: EraseOptions): Promise<Erased> {
  const server = new Server(options.client);
  const databases = databasesFor(options.database);
  const below = versionBound(options.position);
  await dropLeftKeys(server, databases.landing);
  const ids = tablesOf(options.table, options.follow);
  const holders = new Map<string, readonly Holder[]>();
  const keys = new Map<string, EraseKeys>();
  for (const id of ids) {
    const found = await findHolders(server, databases, id);
    holders.set(id, found);
    keys.set(id, new EraseKeys(server, id, landingOf(found, id), below));
  }
  const links = options.follow
    .filter(({ of }) => ids.includes(of))
    .map(({ of, table, columns }): Link & { from: EraseKeys } => ({
      from: keys.get(table)!,
      to: keys.get(of)!,
      columns: knownColumns(keys.get(table)!, keys.get(of)!, columns),
    }));
  try {
    for (const each of keys.values()) await each.create();
    await keys.get(options.table)!.add(options.key);
    const queue = [...keys.values()];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const link of links.filter(({ to }) => to === next)) {
        const added = await link.from.addLinked(link, holders.get(link.from.id)!);
        if (added > 0 && !queue.includes(link.from)) queue.push(link.from);
      }
    }
    const found = [...keys.values()];
    await options.confirm(
      found.map((each) => ({
        table: each.id,
        columns: each.landing.key,
        texts: (offset, limit) => each.texts(offset, limit),
      })),
    );
    const positions = new ErasePositions(server, databases.landing);
    await positions.open();
    await positions.save(ids, options.position);
    const doomed = found.flatMap((each) =>
      holders.get(each.id)!.map((holder) =>
        doomedOf(
          each,
          holder,
          links.filter(({ from }) => from === each),
        ),
      ),
    );
    const rows: Record<string, { erased: number; kept: number }> = {};
    for (const each of found) rows[each.id] = await each.counts();
    return { holders: await removeDoomed(server, databases, doomed), rows };
  } finally {
    for (const each of keys.values()) await each.drop();
  }
}

function doomedOf(keys: EraseKeys, holder: Holder, links: readonly Link[]): Doomed {
  const doomed = (condition: string): Doomed => ({ holder, of: keys.id, condition, unproven: null });
  if (holder.kind === 'audit' || holder.kind === 'quarantine')
    return doomed(keys.doomedByText(holder, links));
  const condition = keys.doomedByKey(holder);
  if (condition !== null) return doomed(condition);
  const unproven = `it has not the columns ${keys.key} by which a row of ${keys.id} could be found in it`;
  return { holder, of: keys.id, condition: null, unproven };
}

/** The table and all that follow it, directly or not. */
export function tablesOf(table: string, follow: readonly Follow[]): string[] {
  const ids = [table];
  for (const id of ids)
    for (const next of follow) if (next.of === id && !ids.includes(next.table)) ids.push(next.table);
  return ids;
}

function knownColumns(from: EraseKeys, to: EraseKeys, columns: readonly string[]): readonly string[] {
  const unknown = columns.find((column) => !from.landing.columns.has(column));
  const { key } = to.landing;
  if (unknown === undefined && columns.length === key.length) return columns;
  throw new WalhouseError('config_invalid', {
    what:
      unknown === undefined
        ? `tables.${to.id}.erase.follow names ${columns.length} columns of ${from.id}, and the key of ${to.id} has ${key.length}: ${key.join(', ')}.`
        : `tables.${to.id}.erase.follow names ${from.id} (${unknown}), and there is no such column.`,
    why: 'Which rows belong to which could not be told.',
    fix: `write the columns of ${from.id} that hold the key (${key.join(', ')}), in this order`,
  });
}
