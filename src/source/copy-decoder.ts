import { NULL, Tuple } from '../pipeline/tuple.js';
import { decodeFailed } from './decoder.js';

const TAB = 0x09;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;

/**
 * Splits the bytes of COPY TO STDOUT (text format) into rows, un-escaping in place. Chunks may end anywhere; what is
 * left of a row is kept until the next. The tuple handed over is always the same one.
 */
export class CopyDecoder {
  readonly #columns: number;
  readonly #tuple: Tuple;
  readonly #onRow: (row: Tuple) => void;
  /** Pieces of a row that has not ended; a list, so that a huge row is joined once. */
  #rest: Buffer[] = [];

  constructor(columns: number, onRow: (row: Tuple) => void) {
    this.#columns = columns;
    this.#tuple = new Tuple(columns);
    this.#tuple.count = columns;
    this.#onRow = onRow;
  }

  decode(chunk: Buffer): void {
    let at = 0;
    if (this.#rest.length > 0) {
      const end = chunk.indexOf(NEWLINE);
      if (end < 0) {
        this.#rest.push(chunk);
        return;
      }
      const row = Buffer.concat([...this.#rest, chunk.subarray(0, end + 1)]);
      this.#rest = [];
      this.#row(row, 0, row.length - 1);
      at = end + 1;
    }
    for (let end = chunk.indexOf(NEWLINE, at); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      this.#row(chunk, at, end);
      at = end + 1;
    }
    if (at < chunk.length) this.#rest.push(chunk.subarray(at));
  }

  /** Call after the last chunk: half a row is an error. */
  finish(): void {
    if (this.#rest.length > 0) throw decodeFailed('COPY', 'the last row has no end', 0);
  }

  #row(bytes: Buffer, from: number, to: number): void {
    const tuple = this.#tuple;
    const { start, end } = tuple;
    const columns = this.#columns;
    tuple.bytes = bytes;
    let column = 0;
    let read = from;
    for (;;) {
      if (column === columns) throw decodeFailed('COPY', 'a row with too many columns', read);
      if (bytes[read] === BACKSLASH && bytes[read + 1] === LETTER_N) {
        start[column] = NULL;
        read += 2;
        if (read < to && bytes[read] !== TAB) throw decodeFailed('COPY', 'bytes behind a null', read);
      } else {
        start[column] = read;
        while (read < to && bytes[read] !== TAB && bytes[read] !== BACKSLASH) read += 1;
        end[column] = read;
        if (read < to && bytes[read] === BACKSLASH) read = this.#escaped(bytes, read, to, column);
      }
      column += 1;
      if (read >= to) break;
      read += 1;
    }
    if (column !== columns) throw decodeFailed('COPY', 'a row with too few columns', read);
    this.#onRow(tuple);
  }

  /** The rest of a value from its first escape on; returns where the value's bytes end on the wire. */
  #escaped(bytes: Buffer, at: number, to: number, column: number): number {
    let read = at;
    let write = at;
    while (read < to) {
      const byte = bytes[read]!;
      if (byte === TAB) break;
      if (byte !== BACKSLASH) {
        bytes[write] = byte;
        read += 1;
      } else {
        const plain = read + 1 < to ? unescaped(bytes[read + 1]!) : -1;
        if (plain < 0) throw decodeFailed('COPY', 'an unknown escape', read);
        bytes[write] = plain;
        read += 2;
      }
      write += 1;
    }
    this.#tuple.end[column] = write;
    return read;
  }
}

function unescaped(escape: number): number {
  switch (escape) {
    case BACKSLASH:
      return BACKSLASH;
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    case 0x6e:
      return NEWLINE;
    case 0x72:
      return 0x0d;
    case 0x74:
      return TAB;
    case 0x76:
      return 0x0b;
    default:
      return -1;
  }
}
