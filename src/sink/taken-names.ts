import { WalhouseError } from '../pipeline/errors.js';
import { qualified } from './identifier.js';
import { historyNames, tableName, type Databases } from './names.js';
import type { Server } from './server.js';
import { StoredTables } from './stored-tables.js';

/** A table as the source calls it. */
export interface NamedTable {
  readonly schema: string;
  readonly name: string;
  readonly id: string;
  /** It has views of its history besides. */
  readonly history?: boolean;
}

/**
 * What stands in ClickHouse under names that these tables would take, and was not made for them: Walhouse would drop or replace it. By
 * the table's id; qualified and quoted.
 */
export async function takenNames(
  server: Server,
  { views, landing, audit }: Databases,
  tables: readonly NamedTable[],
): Promise<ReadonlyMap<string, string>> {
  const objects = await server.rows<{ database: string; name: string }>(
    'select database, name from system.tables where database in {databases:Array(String)}',
    'looking for the names of tables',
    { databases: [views, landing, audit] },
  );
  const there = new Set(objects.map(({ database, name }) => qualified(database, name)));
  const hasOwn = there.has(qualified(landing, '_walhouse_tables'));
  const stored = hasOwn ? await new StoredTables(server, landing).load() : [];
  const ours = new Set(stored.map(({ id }) => id));
  const taken = new Map<string, string>();
  for (const { schema, name: source, id, history } of tables) {
    if (ours.has(id)) continue;
    const name = tableName(schema, source);
    const object = [
      ...[views, landing].map((database) => qualified(database, name)),
      ...(history === true
        ? [qualified(audit, name), ...Object.values(historyNames(name)).map((view) => qualified(views, view))]
        : []),
    ].find((candidate) => there.has(candidate));
    if (object !== undefined) taken.set(id, object);
  }
  return taken;
}

/** Names of a mart's objects that something else has in the people's database. */
export async function takenObjects(
  server: Server,
  views: string,
  objects: readonly string[],
): Promise<string[]> {
  const rows = await server.rows<{ name: string }>(
    'select name from system.tables where database = {views:String} and name in {objects:Array(String)} order by name',
    'looking for the names of marts',
    { views, objects },
  );
  return rows.map(({ name }) => qualified(views, name));
}

/** `owner`: what would take the name. */
export function nameTaken(owner: string, object: string, table?: string): WalhouseError {
  return new WalhouseError('table_name_collision', {
    what: `${object} is there already, and not made for ${owner}.`,
    why: 'It would be replaced, and what it holds would be lost.',
    fix: 'choose another sink.database, or move that table or view away, and start again',
    ...(table === undefined ? {} : { table }),
  });
}
