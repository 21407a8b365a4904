import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';

/** Columns that every landing table has besides the source's. */
export const VERSION = '_version';
export const IS_DELETED = '_is_deleted';
export const COMMITTED_AT = '_committed_at';
export const SYNCED_AT = '_synced_at';
/** Columns that the versions of a table with history have besides these. */
export const OP = '_op';
export const XID = '_xid';
const OWN_COLUMNS: readonly string[] = [VERSION, IS_DELETED, COMMITTED_AT, SYNCED_AT];

/** Tables that start so are Walhouse's own. */
const OWN_TABLES = '_walhouse';
export const AUDIT_PREFIX = '_walhouse_audit_';
export const VERSIONS_PREFIX = '_walhouse_versions_';
export const NEXT_VERSIONS_PREFIX = '_walhouse_next_versions_';

export interface Databases {
  /** What people query. */
  readonly views: string;
  readonly landing: string;
  readonly audit: string;
}

export function databasesFor(database: string): Databases {
  return { views: database, landing: `${database}_landing`, audit: `${database}_audit` };
}

/** What a source table is called in ClickHouse, case and all. */
export function tableName(schema: string, name: string): string {
  return schema === 'public' ? name : `${schema}_${name}`;
}

/** What a table may be called there of which only `schema.name` is known: with more than one dot, it may be cut at each. */
export function possibleNames(id: string): string[] {
  const parts = id.split('.');
  return parts
    .slice(1)
    .map((_, index) => tableName(parts.slice(0, index + 1).join('.'), parts.slice(index + 1).join('.')));
}

/** The views that a table with history has besides its own. */
export function historyNames(name: string): { readonly at: string; readonly life: string } {
  return { at: `${name}_at`, life: `${name}_history` };
}

/**
 * Which source tables have which names in ClickHouse, so that no two ever share one.
 * Throws `table_name_collision` where a name is taken, ours, or has a column that would hide one of ours.
 */
export class Names {
  readonly #owners = new Map<string, string>();

  claim(relation: Pick<Relation, 'schema' | 'name' | 'id' | 'columns'>, history = false): string {
    const name = tableName(relation.schema, relation.name);
    this.reserve(name, relation.id);
    if (history)
      for (const view of Object.values(historyNames(name)))
        this.reserve(view, `the history of ${relation.id}`);
    const own = history ? [...OWN_COLUMNS, OP, XID] : OWN_COLUMNS;
    for (const column of relation.columns) {
      if (!own.includes(column.name)) continue;
      throw collision(
        `${relation.id} has a column "${column.name}", which is the name of a column that Walhouse adds.`,
        'A row could not keep both.',
        `alter table ${relation.id} rename column "${column.name}" to another name, or leave the table out`,
      );
    }
    return name;
  }

  /** Takes a name in the people's database for something that is no source table, such as a mart's. */
  reserve(name: string, owner: string): void {
    if (name.startsWith(OWN_TABLES)) {
      throw collision(
        `${owner} would be called "${name}" in ClickHouse.`,
        `Names that start with "${OWN_TABLES}" are Walhouse's own.`,
        'rename the table in Postgres, or leave it out of tables in walhouse.yaml',
      );
    }
    const other = this.#owners.get(name);
    if (other !== undefined && other !== owner) {
      throw collision(
        `${owner} and ${other} would both be called "${name}" in ClickHouse.`,
        'Their rows would be mixed.',
        'leave one of them out of walhouse.yaml, or rename it',
      );
    }
    this.#owners.set(name, owner);
  }
}

function collision(what: string, why: string, fix: string): WalhouseError {
  return new WalhouseError('table_name_collision', { what, why, fix });
}
