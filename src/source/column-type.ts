import type { ColumnType } from '../pipeline/relation.js';

/** A row of the types query in catalog.ts. */
export interface TypeRow {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_type.typtype`. */
  readonly kind: string;
  /** What a domain stands on; 0 for other types. */
  readonly base: number;
  readonly baseModifier: number;
  /** A true array's element type; 0 for other types, int2vector and the like included. */
  readonly element: number;
  readonly labels: readonly string[] | null;
}

const KINDS: Readonly<Record<string, ColumnType['kind']>> = {
  e: 'enum',
  c: 'composite',
  r: 'range',
  m: 'multirange',
};

/** A type with its domains taken off, before `format_type` has given it its text. */
export interface ResolvedType {
  readonly row: TypeRow;
  readonly modifier: number;
}

/** Takes domains off: the type they stand on, with the modifier that the innermost of them sets. */
export function withoutDomains(
  types: ReadonlyMap<number, TypeRow>,
  oid: number,
  modifier: number,
): ResolvedType {
  let row = typeRow(types, oid);
  let found = modifier;
  while (row.kind === 'd') {
    if (found < 0) found = row.baseModifier;
    row = typeRow(types, row.base);
  }
  return { row, modifier: found };
}

/** Builds a column's type; `textOf` gives `format_type` of a type and modifier. */
export function columnType(
  types: ReadonlyMap<number, TypeRow>,
  oid: number,
  modifier: number,
  textOf: (oid: number, modifier: number) => string,
): ColumnType {
  const resolved = withoutDomains(types, oid, modifier);
  const { row } = resolved;
  const common = {
    name: row.schema === 'pg_catalog' ? row.name : `${row.schema}.${row.name}`,
    modifier: resolved.modifier,
    text: textOf(row.oid, resolved.modifier),
  };
  if (row.element !== 0) {
    const element = columnType(types, row.element, resolved.modifier, textOf);
    return { ...common, kind: 'array', element };
  }
  const kind = KINDS[row.kind] ?? 'base';
  return kind === 'enum' ? { ...common, kind, labels: row.labels ?? [] } : { ...common, kind };
}

function typeRow(types: ReadonlyMap<number, TypeRow>, oid: number): TypeRow {
  const row = types.get(oid);
  if (row === undefined) throw new Error(`type ${oid} is not in the catalog`);
  return row;
}
