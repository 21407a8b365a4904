import type { Column, Relation } from '../pipeline/relation.js';
import { ABSENT, NULL, type Tuple } from '../pipeline/tuple.js';
import { schemaChanged } from './decoder.js';
import { type JsonScanner, NULL_VALUE } from './json-scanner.js';

const NUMBERS_THAT_MAY_BE_NAN = new Set(['float4', 'float8', 'numeric']);
const BACKSLASH = 0x5c;
const LETTER_X = 0x78;
const NAN = Buffer.from('NaN');

/** What stands for null in a column that cannot be null. */
type NullMeans = 'null' | 'nan' | 'nan_or_infinity';

/** How rows of one table look in wal2json's messages. */
export class TableShape {
  readonly relation: Relation;
  /** What stands before each column's value: `{"name":"id","value":`. */
  readonly #prefixes: readonly Buffer[];
  readonly #isBytea: readonly boolean[];
  readonly #nullMeans: readonly NullMeans[];

  constructor(relation: Relation) {
    this.relation = relation;
    this.#prefixes = relation.columns.map(({ name }) =>
      Buffer.from(`{"name":${JSON.stringify(name)},"value":`),
    );
    this.#isBytea = relation.columns.map(({ type }) => type.name === 'bytea');
    this.#nullMeans = relation.columns.map(nullMeans);
  }

  /** Reads `[{"name":...,"value":...},...]` into the tuple; columns that are not there become ABSENT. */
  read(scanner: JsonScanner, tuple: Tuple): void {
    const prefixes = this.#prefixes;
    const count = prefixes.length;
    tuple.bytes = scanner.bytes;
    tuple.count = count;
    tuple.start.fill(ABSENT, 0, count);
    scanner.openArray();
    if (scanner.closedArray()) return;
    let column = 0;
    do {
      // The next column nearly always; a later one where unchanged TOAST values were left out.
      let tried = 0;
      while (!scanner.matches(prefixes[column]!)) {
        column = column + 1 === count ? 0 : column + 1;
        tried += 1;
        if (tried >= count) throw this.#unknownColumn(scanner);
      }
      scanner.at += prefixes[column]!.length;
      if (tuple.start[column] !== ABSENT) throw scanner.failed('a column twice');
      this.#value(scanner, tuple, column);
      column = column + 1 === count ? 0 : column + 1;
    } while (scanner.nextInArray());
  }

  /** A new row names every column; one that is not there was dropped since, or not yet made. */
  requireWhole(row: Tuple): void {
    for (let column = 0; column < row.count; column += 1) {
      if (row.start[column] !== ABSENT) continue;
      const { name, generated } = this.relation.columns[column]!;
      if (!generated) throw schemaChanged(this.relation, `column ${name} is gone`);
    }
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

  #unknownColumn(scanner: JsonScanner): Error {
    const name = scanner.columnName();
    return schemaChanged(this.relation, `column ${name} is new`);
  }
}

function nullMeans({ type, notNull }: Column): NullMeans {
  if (!notNull || !NUMBERS_THAT_MAY_BE_NAN.has(type.name)) return 'null';
  return type.name === 'numeric' && type.modifier >= 0 ? 'nan' : 'nan_or_infinity';
}

/**
 * Reads `"schema","table":"name"` behind the key `schema` and finds the table, comparing bytes; null when it is not
 * configured. The table of the message before is tried first.
 */
export function shapeLookup(relations: readonly Relation[]): (scanner: JsonScanner) => TableShape | null {
  const entries = relations.map((relation) => ({
    span: Buffer.from(`${JSON.stringify(relation.schema)},"table":${JSON.stringify(relation.name)}`),
    shape: new TableShape(relation),
  }));
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
