import type { Column, Relation } from '../pipeline/relation.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Evolution, Evolutions } from '../pipeline/source.js';
import { ABSENT, NULL, YOUNGER, type Tuple } from '../pipeline/tuple.js';
import { schemaChanged } from './decoder.js';
import { type JsonScanner, NULL_VALUE } from './json-scanner.js';
import { Layout, PASSED_OVER, type RowFilters } from './layout.js';
import { LONG_BYTES } from './long-messages.js';

const NUMBERS_THAT_MAY_BE_NAN = new Set(['float4', 'float8', 'numeric']);
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;
const NAN = Buffer.from('NaN');

/** What stands for null in a column that cannot be null. */
type NullMeans = 'null' | 'nan' | 'nan_or_infinity';

/** A layout, and what stands before the value of each of its columns: `{"name":"id","value":`. */
interface Form {
  readonly layout: Layout;
  readonly prefixes: readonly Buffer[];
}

/** How rows of one table look in wal2json's messages. */
export class TableShape {
  readonly relation: Relation;
  readonly #evolution: Evolution | null;
  readonly #today: Form;
  /** For changes that may be older than today's columns. */
  readonly #older: Form | null;
  #form: Form;
  /** By place in the tuple. */
  readonly #isBytea: readonly boolean[];
  readonly #nullMeans: readonly NullMeans[];

  constructor(relation: Relation, isFiltered: boolean, evolution: Evolution | null) {
    this.relation = relation;
    this.#evolution = evolution;
    this.#today = formOf(new Layout(relation, isFiltered));
    this.#older = evolution === null ? null : formOf(new Layout(relation, isFiltered, evolution));
    this.#form = this.#today;
    this.#isBytea = this.#today.layout.columns.map(({ type }) => type.name === 'bytea');
    this.#nullMeans = this.#today.layout.columns.map(nullMeans);
  }

  get evolves(): boolean {
    return this.#evolution !== null;
  }

  /** A transaction begins that commits there. */
  begin(commitLsn: Lsn): void {
    if (this.#older === null || this.#evolution === null) return;
    this.#form = commitLsn < this.#evolution.until ? this.#older : this.#today;
  }

  /** Reads `[{"name":...,"value":...},...]` into the tuple; columns that are not there become ABSENT. */
  read(scanner: JsonScanner, tuple: Tuple): void {
    const { layout, prefixes } = this.#form;
    const { places, width } = layout;
    const count = prefixes.length;
    tuple.bytes = scanner.bytes;
    tuple.lasting = scanner.bytes.length >= LONG_BYTES;
    tuple.count = this.relation.columns.length;
    tuple.start.fill(ABSENT, 0, width);
    scanner.openArray();
    if (scanner.closedArray()) return;
    let column = 0;
    let last = -1;
    let unknown: string | null = null;
    do {
      // The next column nearly always; a later one where unchanged TOAST values were left out.
      let tried = 0;
      while (tried < count && !scanner.matches(prefixes[column]!)) {
        column = column + 1 === count ? 0 : column + 1;
        tried += 1;
      }
      if (tried >= count) {
        unknown = this.#passUnknown(scanner);
        continue;
      }
      scanner.at += prefixes[column]!.length;
      const place = places[column]!;
      if (place === PASSED_OVER) scanner.skip();
      else {
        if (tuple.start[place] !== ABSENT) throw scanner.failed('a column twice');
        this.#value(scanner, tuple, place);
      }
      // Columns come in the table's order. Another one means that names have gone from column to column since.
      if (column < last && this.#form === this.#older) throw this.#isNew(layout.names[column]!);
      last = column;
      column = column + 1 === count ? 0 : column + 1;
    } while (scanner.nextInArray());
    // What is missing beside an unknown name may be that column renamed, which must not pass for a value that was not sent again.
    if (unknown !== null && this.#missing(tuple) !== undefined) throw this.#isNew(unknown);
  }

  /** A new row names every column; one that is not there was dropped since, or not yet made. */
  requireWhole(row: Tuple): void {
    const missing = this.#missing(row);
    if (missing !== undefined) throw schemaChanged(this.relation, `column ${missing} is gone`);
  }

  /**
   * Columns that are not there are younger than the change. An update without its whole old row leaves it open whether a value is only
   * unchanged; either way it is that of the row's version before.
   */
  settleYounger(row: Tuple, old?: Tuple): void {
    for (const place of this.#form.layout.younger) {
      if (row.start[place] !== ABSENT || (old !== undefined && old.start[place] !== ABSENT)) continue;
      row.start[place] = YOUNGER;
      if (old !== undefined) old.start[place] = YOUNGER;
    }
  }

  #missing(row: Tuple): string | undefined {
    const { names, places, required } = this.#form.layout;
    for (let column = 0; column < names.length; column += 1)
      if (required[column] === true && row.start[places[column]!] === ABSENT) return names[column];
    return undefined;
  }

  #value(scanner: JsonScanner, tuple: Tuple, column: number): void {
    const start = scanner.value();
    if (start === NULL_VALUE) {
      this.#null(scanner, tuple, column);
      return;
    }
    tuple.start[column] = start;
    tuple.end[column] = scanner.valueEnd;
    if (this.#isBytea[column] === true && scanner.bytes[start] !== BACKSLASH) {
      // A bytea comes without its \x, except under a domain; colon and quote before it make room.
      scanner.bytes[start - 2] = BACKSLASH;
      scanner.bytes[start - 1] = LETTER_X;
      tuple.start[column] = start - 2;
    }
  }

  #null(scanner: JsonScanner, tuple: Tuple, column: number): void {
    const means = this.#nullMeans[column];
    if (means === 'null') {
      tuple.start[column] = NULL;
      return;
    }
    // wal2json writes null for NaN and the infinities. Here it cannot be a null, and a numeric with a precision
    // holds no infinity. Where it stays open which it was, the text `null` goes on: no number, so not storable.
    const start = scanner.at - 4;
    tuple.start[column] = start;
    tuple.end[column] = scanner.at;
    if (means === 'nan') {
      NAN.copy(scanner.bytes, start);
      tuple.end[column] = start + NAN.length;
    }
  }

  #passUnknown(scanner: JsonScanner): string {
    const name = scanner.columnName();
    if (!this.#form.layout.closed) throw this.#isNew(name);
    scanner.passColumn();
    return name;
  }

  #isNew(name: string): Error {
    return schemaChanged(this.relation, `column ${name} is new`);
  }
}

function formOf(layout: Layout): Form {
  const prefixes = layout.names.map((name) => Buffer.from(`{"name":${JSON.stringify(name)},"value":`));
  return { layout, prefixes };
}

function nullMeans({ type, notNull }: Column): NullMeans {
  if (!notNull || !NUMBERS_THAT_MAY_BE_NAN.has(type.name)) return 'null';
  return type.name === 'numeric' && type.modifier >= 0 ? 'nan' : 'nan_or_infinity';
}

export function tableShapes(
  relations: readonly Relation[],
  filters: RowFilters,
  evolutions: Evolutions,
): TableShape[] {
  return relations.map((relation) => new TableShape(relation, filters.has(relation), evolutions(relation)));
}

/**
 * Reads `"schema","table":"name"` behind the key `schema` and finds the table, comparing bytes; null when it is not
 * configured. The table of the message before is tried first.
 */
export function shapeLookup(shapes: readonly TableShape[]): (scanner: JsonScanner) => TableShape | null {
  const entries = shapes.map((shape) => {
    const { schema, name } = shape.relation;
    return { span: Buffer.from(`${JSON.stringify(schema)},"table":${JSON.stringify(name)}`), shape };
  });
  let last = entries[0];
  return (scanner) => {
    if (last === undefined || !scanner.matches(last.span)) {
      const found = entries.find(({ span }) => scanner.matches(span));
      if (found === undefined) {
        scanner.skip();
        if (scanner.key() !== 'table') throw scanner.failed('a schema without its table');
        scanner.skip();
        return null;
      }
      last = found;
    }
    scanner.at += last.span.length;
    return last.shape;
  };
}
