import { WalhouseError } from '../pipeline/errors.js';
import { quoteString } from './identifier.js';
import { NEXT_PREFIX } from './mart-stage.js';
import {
  AUDIT_PREFIX,
  NEXT_VERSIONS_PREFIX,
  possibleNames,
  VERSION,
  VERSIONS_PREFIX,
  type Databases,
} from './names.js';
import type { TableName } from './purge-parts.js';
import { QUARANTINE_TABLE } from './quarantine.js';
import type { Server } from './server.js';
import { asidesOf } from './stage.js';

/** How a table in ClickHouse came to hold rows of a source table. */
export type HolderKind = 'landing' | 'stage' | 'versions' | 'audit' | 'mart' | 'quarantine';

/** A table in ClickHouse that holds versions of rows of a source table. */
export interface Holder extends TableName {
  readonly kind: HolderKind;
  /** Types by column. */
  readonly columns: ReadonlyMap<string, string>;
  /** Columns of its primary key: in landing, those of the source's key. */
  readonly key: readonly string[];
}

interface TableRow {
  readonly database: string;
  readonly name: string;
  readonly engine: string;
  readonly as_select: string;
  readonly definition: string;
  readonly uuid: string;
}

/**
 * Finds every table that holds rows of a source table, `schema.name`: landing, its stage, its versions, the trail of changes, the quarantine, and each table that a
 * materialized view fills from one of these, whosever it is and however many stand between.
 */
export async function findHolders(server: Server, databases: Databases, id: string): Promise<Holder[]> {
  const all = await server.rows<TableRow>(
    `select database, name, engine, as_select, create_table_query as definition, toString(uuid) as uuid
       from system.tables where database in {databases:Array(String)} or engine = 'MaterializedView'`,
    'looking for what holds rows',
    { databases: [databases.views, databases.landing, databases.audit] },
  );
  const { landing } = databases;
  const names = possibleNames(id);
  const name =
    names.find((possible) => all.some((table) => isSame(table, { database: landing, name: possible }))) ??
    names[0]!;
  const wanted: (TableName & { kind: HolderKind })[] = [
    { kind: 'landing', database: landing, name },
    { kind: 'stage', database: landing, name: `${NEXT_PREFIX}${name}` },
    { kind: 'versions', database: landing, name: `${VERSIONS_PREFIX}${name}` },
    { kind: 'versions', database: landing, name: `${NEXT_VERSIONS_PREFIX}${name}` },
    { kind: 'audit', database: landing, name: `${AUDIT_PREFIX}${name}` },
    { kind: 'quarantine', database: landing, name: QUARANTINE_TABLE },
    ...asidesOf(
      all.flatMap((table) => (table.database === landing ? [table.name] : [])),
      { name },
    ).map((aside) => ({ kind: 'stage' as const, database: landing, name: aside })),
  ];
  const found = wanted.filter((table) => all.some((known) => isSame(known, table)));
  // Marts may be filled from marts, so each that is found is looked at in its turn.
  for (const from of found) {
    if (from.kind === 'quarantine') continue;
    for (const view of all) {
      if (view.engine !== 'MaterializedView' || !reads(view.as_select, from)) continue;
      const target = targetOf(view);
      if (found.some((known) => isSame(known, target))) continue;
      found.push({ kind: 'mart', ...target });
    }
  }
  const columns = await server.rows<{
    database: string;
    table: string;
    name: string;
    type: string;
    is_in_primary_key: number;
  }>(
    `select database, table, name, type, is_in_primary_key from system.columns where (database, table) in (${found
      .map((table) => `(${quoteString(table.database)}, ${quoteString(table.name)})`)
      .join(', ')})`,
    'reading columns of what holds rows',
  );
  return found.map((table) => {
    const own = columns.filter((column) => column.database === table.database && column.table === table.name);
    return {
      ...table,
      columns: new Map(own.map((column) => [column.name, column.type])),
      key: own.filter((column) => column.is_in_primary_key === 1).map((column) => column.name),
    };
  });
}

/** The landing table among them; `table_missing` where the source table was never stored. */
export function landingOf(holders: readonly Holder[], id: string): Holder {
  const landing = holders.find(({ kind }) => kind === 'landing');
  if (landing !== undefined) return landing;
  throw new WalhouseError('table_missing', {
    what: `${id} has no table in ClickHouse.`,
    why: 'It was never stored, or somebody has dropped it.',
    fix: 'walhouse run makes it',
  });
}

/** Whether its rows say which change they are of. */
export function hasVersions({ columns }: Holder): boolean {
  return columns.has(VERSION);
}

function isSame(a: TableName, b: TableName): boolean {
  return a.database === b.database && a.name === b.name;
}

function reads(select: string, { database, name }: TableName): boolean {
  const part = (text: string): string => `\`?${text.replace(/[^A-Za-z0-9_]/g, '\\$&')}\`?`;
  return new RegExp(`(?<![\\w\`])${part(database)}\\.${part(name)}(?![\\w\`])`).test(select);
}

/** What a materialized view fills: the table that it names, or one of its own. */
function targetOf({ database, definition, uuid }: TableRow): TableName {
  const match = /^CREATE MATERIALIZED VIEW .*? TO `?([^`\s.]+)`?\.`?([^`\s(]+)`?[\s(]/s.exec(definition);
  if (match !== null) return { database: match[1]!, name: match[2]! };
  return { database, name: `.inner_id.${uuid}` };
}
