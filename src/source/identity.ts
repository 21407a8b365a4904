import { WalhouseError } from '../pipeline/errors.js';
import type { ReplicaIdentity } from '../pipeline/relation.js';
import { quoteName } from './connection.js';

/** A row of the index query in catalog.ts. */
export interface IndexRow {
  readonly oid: number;
  readonly name: string;
  readonly isPrimary: boolean;
  readonly isReplicaIdentity: boolean;
  /** Unique, valid, checked at once, on plain columns of all rows. */
  readonly usable: boolean;
  /** Column numbers (`attnum`) of the key, INCLUDE columns left out. */
  readonly attnums: readonly number[];
}

export interface IdentityColumn {
  readonly attnum: number;
  readonly name: string;
  readonly notNull: boolean;
  readonly generated: boolean;
}

export const REPLICA_IDENTITIES: Readonly<Record<string, ReplicaIdentity>> = {
  d: 'default',
  f: 'full',
  i: 'index',
  n: 'nothing',
};

/**
 * Chooses the key that tells a table's rows apart and that its changes carry: the primary key, or the replica identity
 * index; under FULL the primary key, else the narrowest unique index without nulls.
 * Throws `table_no_identity` with the statement that mends it.
 */
export function chooseKey(
  table: { readonly schema: string; readonly name: string; readonly identity: ReplicaIdentity },
  columns: readonly IdentityColumn[],
  indexes: readonly IndexRow[],
): readonly number[] {
  const byAttnum = new Map(columns.map((column, index) => [column.attnum, { column, index }]));
  const candidates = indexes
    .filter(
      ({ usable, attnums }) =>
        usable && attnums.every((attnum) => byAttnum.get(attnum)?.column.notNull === true),
    )
    .sort((a, b) => a.attnums.length - b.attnums.length || a.oid - b.oid);
  const primary = candidates.find((index) => index.isPrimary);
  const chosen = {
    default: primary,
    index: candidates.find((index) => index.isReplicaIdentity),
    full: primary ?? candidates[0],
    nothing: undefined,
  }[table.identity];
  if (chosen === undefined) throw noIdentity(table, primary, candidates[0]);
  const key = chosen.attnums.map((attnum) => byAttnum.get(attnum)!);
  const generated = key.find(({ column }) => column.generated);
  if (generated !== undefined) {
    throw new WalhouseError('table_no_identity', {
      what: `the key of ${table.schema}.${table.name} uses the generated column ${generated.column.name}.`,
      why: 'Logical replication leaves generated columns out, so its changes would come without their key.',
      fix: `alter table ${qualified(table)} replica identity using index on plain columns`,
    });
  }
  return key.map(({ index }) => index);
}

function noIdentity(
  table: { readonly schema: string; readonly name: string; readonly identity: ReplicaIdentity },
  primary: IndexRow | undefined,
  unique: IndexRow | undefined,
): WalhouseError {
  const alter = `alter table ${qualified(table)}`;
  let fix = `${alter} add primary key (COLUMNS), or, without a natural one: ${alter} add column walhouse_id bigint generated always as identity primary key`;
  if (primary !== undefined) fix = `${alter} replica identity default`;
  else if (unique !== undefined) fix = `${alter} replica identity using index ${quoteName(unique.name)}`;
  return new WalhouseError('table_no_identity', {
    what: `table ${table.schema}.${table.name} has no usable replica identity (it is ${table.identity.toUpperCase()}${primary === undefined ? ', without a primary key' : ''}).`,
    why: 'Its updates and deletes would not say which row they mean.',
    fix,
  });
}

function qualified({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}
