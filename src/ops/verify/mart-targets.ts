import type { ClickHouseClient } from '@clickhouse/client';
import { AUDIT_PREFIX, databasesFor, IS_DELETED, VERSION } from '../../sink/names.js';
import { askClickHouse } from './sides.js';

/** A materialized view from landing. */
export interface Feed {
  readonly name: string;
  readonly select: string;
}

/** A table of a mart, and all that fills it. */
export interface MartTarget {
  readonly name: string;
  readonly feeds: readonly Feed[];
  /** The landing tables (not their databases) whose inserts the feeds see. */
  readonly sources: readonly string[];
  /** What every feed and the table have: name and the table's type. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** The columns that tell its rows apart, versions aside; null where it cannot be told which version of a row counts. */
  readonly place: readonly string[] | null;
  /** When a row expires, as an expression over the table's columns; null where rows stay, undefined where it cannot be told. */
  readonly expires: string | null | undefined;
}

interface Described {
  readonly name: string;
  readonly engine: string;
  readonly engine_full: string;
  readonly sorting_key: string;
  readonly select: string;
  readonly definition: string;
}

const IDENTIFIER = /^`?([^`(), ]+)`?$/;

/** The marts' tables that are filled from these landing tables. */
export async function martTargets(
  client: ClickHouseClient,
  database: string,
  landingTables: ReadonlySet<string>,
): Promise<MartTarget[]> {
  const { landing } = databasesFor(database);
  const sources = await sourcesOfFeeds(client, database, landing);
  const tables = await askClickHouse<Described>(
    client,
    `select name, engine, engine_full, sorting_key, as_select as select, create_table_query as definition
       from system.tables where database = {database:String} order by name`,
    { database },
  );
  const columns = await askClickHouse<{ table: string; name: string; type: string }>(
    client,
    'select table, name, type from system.columns where database = {database:String} order by table, position',
    { database },
  );
  const byTarget = new Map<string, Described[]>();
  for (const view of tables) {
    const target = view.engine === 'MaterializedView' ? targetOf(view.definition) : undefined;
    if (target !== undefined && sources.has(view.name))
      byTarget.set(target, [...(byTarget.get(target) ?? []), view]);
  }
  const targets: MartTarget[] = [];
  for (const [name, feeds] of byTarget) {
    const from = [...new Set(feeds.map((feed) => sources.get(feed.name)!))];
    const table = tables.find((other) => other.name === name);
    if (table === undefined || !from.some((source) => landingTables.has(source))) continue;
    const named = (table: string): ReadonlySet<string> =>
      new Set(columns.filter((column) => column.table === table).map((column) => column.name));
    // What a view does not name gets the table's default, and is not the view's to answer for.
    const inFeeds = feeds.map((feed) => named(feed.name));
    const shared = columns.filter(
      (column) => column.table === name && inFeeds.every((names) => names.has(column.name)),
    );
    targets.push({
      name,
      feeds: feeds.map((feed) => ({ name: feed.name, select: feed.select })),
      sources: from,
      columns: shared.map(({ name, type }) => ({ name, type })),
      place: placeOf(table, new Set(shared.map((column) => column.name))),
      expires: expiresOf(table.engine_full),
    });
  }
  return targets;
}

/** Which landing table's inserts each materialized view sees; an audit trail's count as its table's. */
async function sourcesOfFeeds(
  client: ClickHouseClient,
  database: string,
  landing: string,
): Promise<Map<string, string>> {
  const rows = await askClickHouse<{ source: string; databases: string[]; views: string[] }>(
    client,
    `select name as source, dependencies_database as databases, dependencies_table as views
       from system.tables where database = {landing:String} and notEmpty(dependencies_table)`,
    { landing },
  );
  const found = new Map<string, string>();
  for (const { source, databases, views } of rows) {
    const table = source.startsWith(AUDIT_PREFIX) ? source.slice(AUDIT_PREFIX.length) : source;
    views.forEach((view, index) => {
      if (databases[index] === database) found.set(view, table);
    });
  }
  return found;
}

function targetOf(definition: string): string | undefined {
  return /^CREATE MATERIALIZED VIEW \S+ TO \S+?\.`?([^`\s(]+)`?[\s(]/.exec(definition)?.[1];
}

/**
 * A table's rows may be told apart by their sort key, if readers see the newest version of each: because the version is the last part of the
 * sort key, or because merges keep the highest.
 */
function placeOf(table: Described, columns: ReadonlySet<string>): string[] | null {
  if (!columns.has(VERSION) || !/Replacing\w*MergeTree$/.test(table.engine)) return null;
  const sorted = table.sorting_key.split(', ').map((part) => IDENTIFIER.exec(part)?.[1]);
  const keepsAll = sorted.at(-1) === VERSION;
  const keepsNewest = new RegExp(`MergeTree\\([^)]*\\b${VERSION}\\b`).test(table.engine_full);
  if (!keepsAll && !keepsNewest) return null;
  const place = sorted.filter((name) => name !== VERSION);
  return place.every((name): name is string => name !== undefined && columns.has(name)) ? place : null;
}

/** The table's TTL, if it is one expression that deletes rows. */
function expiresOf(engineFull: string): string | null | undefined {
  const ttl = / TTL (.+?)(?: SETTINGS .*)?$/s.exec(engineFull)?.[1];
  if (ttl === undefined) return null;
  return / (DELETE|TO|RECOMPRESS|WHERE|GROUP BY|SET) /.test(`${ttl} `) || hasComma(ttl) ? undefined : ttl;
}

function hasComma(expression: string): boolean {
  let depth = 0;
  for (const char of expression.replaceAll(/'(?:[^'\\]|\\.)*'/g, '')) {
    if (char === '(') depth += 1;
    else if (char === ')') depth -= 1;
    else if (char === ',' && depth === 0) return true;
  }
  return false;
}

/** Whether rows that are deleted stand in the table as such. */
export function hasTombstones(target: MartTarget): boolean {
  return target.columns.some(({ name }) => name === IS_DELETED);
}
