import type { Column, ColumnType, Relation } from '../../src/pipeline/relation.js';
import { ABSENT, NULL, Tuple } from '../../src/pipeline/tuple.js';

/** A value as Postgres writes it; null for SQL null, undefined for one that was not sent. */
export type Text = string | null | undefined;

/** `numeric(12,2)`, `text`, `int4[]`, `enum:a|b`, with ` not null` after it where it is so. */
export function columnOf(name: string, spec: string): Column {
  const notNull = spec.endsWith(' not null');
  return {
    name,
    type: typeOf(spec.replace(/ not null$/, '')),
    notNull,
    generated: false,
    comment: null,
  };
}

export function typeOf(text: string): ColumnType {
  if (text.startsWith('enum:'))
    return {
      name: 'public.label',
      kind: 'enum',
      modifier: -1,
      text: 'label',
      labels: text.slice(5).split('|'),
    };
  if (text.endsWith('[]'))
    return {
      name: `_${text.slice(0, -2)}`,
      kind: 'array',
      modifier: -1,
      text,
      element: typeOf(text.slice(0, -2)),
    };
  const numeric = /^numeric\((\d+),(-?\d+)\)$/.exec(text);
  if (numeric !== null) {
    const modifier = ((Number(numeric[1]) << 16) | (Number(numeric[2]) & 0x7ff)) + 4;
    return { name: 'numeric', kind: 'base', modifier, text };
  }
  return { name: text, kind: 'base', modifier: -1, text };
}

let nextOid = 20_000;

/** A relation from `{ id: 'int8 not null', ... }`; the first column is the key unless told otherwise. */
export function relationOf(
  id: string,
  columns: Record<string, string>,
  more: Partial<Pick<Relation, 'replicaIdentity' | 'comment'>> & { key?: readonly string[] } = {},
): Relation {
  const [schema = 'public', name = id] = id.split('.');
  const names = Object.keys(columns);
  return {
    oid: nextOid++,
    schema,
    name,
    id,
    columns: names.map((column) => columnOf(column, columns[column]!)),
    key: (more.key ?? names.slice(0, 1)).map((column) => names.indexOf(column)),
    replicaIdentity: more.replicaIdentity ?? 'full',
    comment: more.comment ?? null,
  };
}

/** A fresh tuple of the relation's row; columns that `values` does not name are not sent. */
export function tupleOf(relation: Relation, values: Readonly<Record<string, Text>>): Tuple {
  const tuple = new Tuple(relation.columns.length);
  const pieces: Buffer[] = [];
  let at = 0;
  relation.columns.forEach((column, index) => {
    const value = values[column.name];
    if (value === undefined || value === null) {
      tuple.start[index] = value === null ? NULL : ABSENT;
      return;
    }
    const bytes = Buffer.from(value);
    pieces.push(bytes);
    tuple.start[index] = at;
    at += bytes.length;
    tuple.end[index] = at;
  });
  tuple.bytes = Buffer.concat(pieces);
  tuple.count = relation.columns.length;
  return tuple;
}
