/** The value is SQL null. */
export const NULL = -1;
/** The value was not sent: an unchanged TOAST value, or a column outside the replica identity. */
export const ABSENT = -2;
/** The column is younger than the row: it stands for what Postgres shows there, see `RelationStamp.missing`. */
export const YOUNGER = -3;

/**
 * One row as bytes: for each column of its relation, where in `bytes` Postgres's own text of the value stands.
 * Decoders fill one instance again and again, so a row costs no object and no string: whoever needs a value
 * after the call that handed the tuple over copies its bytes.
 *
 * The text is what the type's output function gives under the pinned session settings (timezone UTC,
 * DateStyle ISO, IntervalStyle postgres, extra_float_digits 1, bytea_output hex), unescaped, in UTF-8.
 */
export class Tuple {
  bytes: Buffer = Buffer.alloc(0);
  /** The bytes belong to this row alone and never change: a large value need not be copied. */
  lasting = false;
  /** First byte of each value, or NULL, or ABSENT, or YOUNGER. */
  start: Int32Array;
  /** One past the last byte of each value; means nothing where `start` is negative. */
  end: Int32Array;
  count = 0;

  constructor(columnsMax = 1600) {
    this.start = new Int32Array(columnsMax);
    this.end = new Int32Array(columnsMax);
  }

  /** The value's text, for messages, keys and slow paths; null for SQL null, undefined when it was not sent. */
  text(column: number): string | null | undefined {
    const start = this.start[column]!;
    if (start === NULL) return null;
    if (start < NULL) return undefined;
    return this.bytes.toString('utf8', start, this.end[column]);
  }

  /** Whether the column has the same bytes (or the same lack of them) in both rows. */
  same(column: number, other: Tuple): boolean {
    const start = this.start[column]!;
    const otherStart = other.start[column]!;
    if (start < 0 || otherStart < 0) return start === otherStart;
    const end = this.end[column]!;
    const otherEnd = other.end[column]!;
    if (end - start !== otherEnd - otherStart) return false;
    return this.bytes.compare(other.bytes, otherStart, otherEnd, start, end) === 0;
  }
}

/** A tuple of texts, for slow paths: null for SQL null, undefined for what was not sent. */
export function tupleOf(texts: readonly (string | null | undefined)[]): Tuple {
  const tuple = new Tuple(texts.length);
  const parts: Buffer[] = [];
  let at = 0;
  texts.forEach((text, index) => {
    if (text === undefined || text === null) {
      tuple.start[index] = text === null ? NULL : ABSENT;
      return;
    }
    const bytes = Buffer.from(text);
    parts.push(bytes);
    tuple.start[index] = at;
    at += bytes.length;
    tuple.end[index] = at;
  });
  tuple.bytes = Buffer.concat(parts);
  tuple.count = texts.length;
  return tuple;
}
