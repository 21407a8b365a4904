import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Column, Relation, Selection, WhereColumn } from '../pipeline/relation.js';
import { examineTables, type Examined } from './catalog.js';
import { quoteName } from './connection.js';
import { ConditionRefused, rowCondition } from './row-condition.js';
import { similarNames } from './similar-names.js';

/** What the configuration says of a table's columns and rows. */
export interface SelectionOptions {
  /** Columns that stay in the source. */
  readonly exclude?: readonly string[] | undefined;
  /** The columns that are copied, instead of what is left out. */
  readonly only?: readonly string[] | undefined;
  /** Rows that are copied, as SQL. */
  readonly where?: string | undefined;
}

/** By `schema.name`. */
export type Selections = Readonly<Record<string, SelectionOptions | undefined>>;

/** Types above this are not Postgres's own. */
const FIRST_USER_OID = 16_384;

/** As `readRelations`, cut down to what is selected of each table. */
export async function readSelected(
  client: ClientBase,
  ids: readonly string[],
  selections: Selections,
): Promise<readonly Relation[]> {
  const { relations, problems } = await examineSelected(client, ids, selections);
  for (const id of ids) {
    const problem = problems.get(id);
    if (problem !== undefined) throw problem;
  }
  return relations;
}

/** As `examineTables`, cut down to what is selected of each table; a selection that cannot be is a problem of its table. */
export async function examineSelected(
  client: ClientBase,
  ids: readonly string[],
  selections: Selections,
): Promise<Examined> {
  const examined = await examineTables(client, ids);
  const problems = new Map(examined.problems);
  const relations: Relation[] = [];
  for (const relation of examined.relations) {
    const options = Object.hasOwn(selections, relation.id) ? selections[relation.id] : undefined;
    try {
      const selected = await select(client, relation, options ?? {});
      refuseVirtual(selected);
      relations.push(selected);
    } catch (error) {
      if (!(error instanceof WalhouseError)) throw error;
      problems.set(relation.id, error);
    }
  }
  return { relations, problems };
}

async function select(client: ClientBase, whole: Relation, options: SelectionOptions): Promise<Relation> {
  const { exclude, only, where } = options;
  if ((exclude ?? []).length === 0 && only === undefined && where === undefined) return whole;
  refuseUnknown(whole, 'exclude', exclude ?? []);
  refuseUnknown(whole, 'only', only ?? []);
  const isKept = ({ name }: Column): boolean => only?.includes(name) ?? exclude?.includes(name) !== true;
  const columns = whole.columns.filter(isKept);
  const key = whole.key.map((index) => {
    const column = whole.columns[index]!;
    if (!isKept(column)) throw keyLeftOut(whole, column, only === undefined ? 'exclude' : 'only');
    return columns.indexOf(column);
  });
  const condition = where === undefined ? null : await readCondition(client, whole, where);
  const selection: Selection = {
    names: whole.columns.map(({ name }) => name),
    virtual: whole.columns
      .filter((column) => column.virtual === true && !isKept(column))
      .map(({ name }) => name),
    closed: only !== undefined,
    where: condition?.text ?? null,
    whereColumns: condition?.columns ?? [],
  };
  refuseUnseen(whole, selection);
  return { ...whole, columns, key, selection };
}

async function readCondition(
  client: ClientBase,
  relation: Relation,
  where: string,
): Promise<{ text: string | null; columns: WhereColumn[] }> {
  try {
    const { text, columns } = await rowCondition(client, relation, where);
    return { text, columns: await whereColumns(client, relation, columns) };
  } catch (error) {
    if (error instanceof ConditionRefused) throw whereRefused(relation, where, error);
    throw error;
  }
}

async function whereColumns(
  client: ClientBase,
  relation: Relation,
  names: readonly string[],
): Promise<WhereColumn[]> {
  const { rows } = await client.query<{ name: string; type: number; fuzzy: boolean }>(
    `select a.attname as name, a.atttypid::int8::float8 as type, not coalesce(c.collisdeterministic, true) as fuzzy
       from pg_attribute a left join pg_collation c on c.oid = a.attcollation
      where a.attrelid = $1 and a.attname = any($2::text[]) and a.attnum > 0 and not a.attisdropped
      order by a.attnum`,
    [relation.oid, names],
  );
  return rows.map(({ name, type, fuzzy }) => ({
    ...relation.columns.find((column) => column.name === name)!,
    foreign: type >= FIRST_USER_OID,
    fuzzy,
  }));
}

function refuseUnknown(relation: Relation, key: 'exclude' | 'only', names: readonly string[]): void {
  const known = relation.columns.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const similar = similarNames(unknown, known);
  throw new WalhouseError('config_invalid', {
    what: `tables.${relation.id}.${key} names "${unknown}", and ${relation.id} has no such column.`,
    why:
      key === 'exclude'
        ? 'If it is called otherwise now, its values would be copied under the new name.'
        : 'It could not be copied.',
    fix:
      similar.length > 0
        ? `write ${similar.join(' or ')}`
        : `remove it from ${key}, or write one of: ${known.join(', ')}`,
    table: relation.id,
  });
}

function keyLeftOut(relation: Relation, column: Column, key: 'exclude' | 'only'): WalhouseError {
  return new WalhouseError('config_invalid', {
    what: `tables.${relation.id}.${key} leaves out ${column.name}, which is part of the key of ${relation.id}.`,
    why: 'Without it rows cannot be told apart.',
    fix: key === 'exclude' ? `remove ${column.name} from exclude` : `add ${column.name} to only`,
    table: relation.id,
  });
}

function whereRefused(relation: Relation, where: string, error: ConditionRefused): WalhouseError {
  const known = relation.columns.map(({ name }) => name);
  const similar = error.missing === null ? [] : similarNames(error.missing, known);
  return new WalhouseError('config_invalid', {
    what: `tables.${relation.id}.where, ${JSON.stringify(where)}, ${error.message}.`,
    why: 'Nobody could say which rows are meant.',
    fix:
      similar.length > 0
        ? `write ${similar.join(' or ')} instead of ${error.missing!}`
        : `write a condition on columns of ${relation.id} and constants, as in SQL: country = 'DE' and amount > 0`,
    table: relation.id,
    cause: error,
  });
}

/**
 * The old row must have what the condition reads, or nobody could tell whether an update has moved a row in or out. With such a
 * publication Postgres itself would refuse updates and deletes of the source table.
 */
function refuseUnseen(relation: Relation, { whereColumns: read }: Selection): void {
  if (relation.replicaIdentity === 'full') return;
  const key = relation.key.map((index) => relation.columns[index]!.name);
  const unseen = read.map(({ name }) => name).filter((name) => !key.includes(name));
  if (unseen.length === 0) return;
  throw new WalhouseError('table_no_identity', {
    what: `tables.${relation.id}.where reads ${unseen.join(', ')}, and ${relation.id} has replica identity ${relation.replicaIdentity.toUpperCase()}, whose old rows have the key (${key.join(', ')}) alone.`,
    why: 'Whether an update moves a row in or out could not be told; with pgoutput, Postgres would refuse updates and deletes of the table.',
    fix: `alter table ${quoteName(relation.schema)}.${quoteName(relation.name)} replica identity full`,
    table: relation.id,
  });
}

/** Their values are worked out when they are read and are in no change. */
function refuseVirtual(relation: Relation): void {
  const names = relation.columns.filter(({ virtual }) => virtual === true).map(({ name }) => name);
  if (names.length === 0) return;
  throw new WalhouseError('table_unsupported', {
    what: `${names.map((name) => `${relation.id}.${name}`).join(', ')} ${names.length === 1 ? 'is a virtual generated column' : 'are virtual generated columns'}.`,
    why: 'Their values are not stored, so no change carries them.',
    fix: `leave them out: tables.${relation.id}.exclude: [${names.join(', ')}]`,
    table: relation.id,
  });
}
