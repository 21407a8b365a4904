import type { Column, Relation } from '../pipeline/relation.js';
import type { Evolution } from '../pipeline/source.js';
import type { Tuple } from '../pipeline/tuple.js';
import { ABSENT, NULL } from '../pipeline/tuple.js';
import type { Evaluate } from './condition/evaluate.js';

/** A column that is passed over unread. */
export const PASSED_OVER = -1;

/** What decoders may have to ask of rows themselves, by table. */
export type RowFilters = ReadonlyMap<Relation, Evaluate>;

/**
 * Where a table's columns go in a tuple: the relation's own first, in their order, then those that only its condition reads, which nobody
 * behind the decoder looks at.
 */
export class Layout {
  readonly relation: Relation;
  /** Every column of the table that may come, in the table's order. */
  readonly names: readonly string[];
  /** The place in a tuple of each of `names`, or PASSED_OVER. */
  readonly places: Int32Array;
  /** Each of `names` has to come: it is wanted, and no generated column. */
  readonly required: readonly boolean[];
  /** Columns that are not among `names` are passed over; else they are news. */
  readonly closed: boolean;
  /** By place. */
  readonly columns: readonly Column[];
  /** How many places there are. */
  readonly width: number;
  /** Places that a change may lack because it is older than their columns. */
  readonly younger: readonly number[];

  /** `evolution` where changes may be older than today's columns. */
  constructor(relation: Relation, isFiltered: boolean, evolution: Evolution | null = null) {
    const { selection } = relation;
    const columns = isFiltered ? [...relation.columns, ...hiddenColumns(relation)] : relation.columns;
    const place = new Map(columns.map(({ name }, index) => [name, index]));
    this.relation = relation;
    this.columns = columns;
    this.names = evolution?.names ?? selection?.names ?? columns.map(({ name }) => name);
    this.places = Int32Array.from(this.names, (name) => place.get(name) ?? PASSED_OVER);
    const generated = new Set(columns.filter((column) => column.generated).map(({ name }) => name));
    const younger = evolution?.younger ?? [];
    this.younger = younger.map((name) => place.get(name)!);
    this.required = this.names.map(
      (name) => place.has(name) && !generated.has(name) && !younger.includes(name),
    );
    this.closed = selection?.closed ?? false;
    this.width = columns.length;
  }
}

/** Reads a column for a filter; a value that was not sent again is the old row's. Throws `missing` where neither has it. */
export function columnReader(
  relation: Relation,
  missing: () => Error,
): (row: Tuple, old: Tuple | null) => (column: string) => string | null {
  const columns = [...relation.columns, ...hiddenColumns(relation)];
  const place = new Map(columns.map(({ name }, index) => [name, index]));
  return (row, old) => (column) => {
    const index = place.get(column)!;
    const from = row.start[index] === ABSENT && old !== null ? old : row;
    const start = from.start[index]!;
    if (start === NULL) return null;
    if (start < 0) throw missing();
    return from.bytes.toString('latin1', start, from.end[index]);
  };
}

function hiddenColumns({ columns, selection }: Relation): Column[] {
  const read = selection?.whereColumns ?? [];
  return read.filter(({ name }) => !columns.some((column) => column.name === name));
}
