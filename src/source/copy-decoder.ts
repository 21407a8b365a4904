import { NULL, Tuple } from '../pipeline/tuple.js';
import { decodeFailed } from './decoder.js';

const TAB = 0x09;
const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const LETTER_N = 0x4e;

/** From this length on a row that comes in pieces is gathered in memory that is reserved for the longest row there can be; what is not written to takes none. */
const LONG_BYTES = 4 * 1024 * 1024;
/** Postgres builds a row's text in a buffer of at most this size (MaxAllocSize). */
const ROW_BYTES_MAX = 1024 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

/**
 * Splits the bytes of COPY TO STDOUT (text format) into rows, un-escaping in place. Chunks may end anywhere; what is
 * left of a row is kept until the next. The tuple handed over is always the same one.
 */
export class CopyDecoder {
  readonly #columns: number;
  readonly #tuple: Tuple;
  readonly #onRow: (row: Tuple) => void;
  /** What has come of a row that has not ended. */
  #rest: Buffer = NOTHING;
  #restBytes = 0;

  constructor(columns: number, onRow: (row: Tuple) => void) {
    this.#columns = columns;
    this.#tuple = new Tuple(columns);
    this.#tuple.count = columns;
    this.#onRow = onRow;
  }

  decode(chunk: Buffer): void {
    let at = 0;
    if (this.#restBytes > 0) {
      const end = chunk.indexOf(NEWLINE);
      this.#keep(end < 0 ? chunk : chunk.subarray(0, end));
      if (end < 0) return;
      const row = this.#rest.subarray(0, this.#restBytes);
      // A long row's bytes are the row's from now on.
      this.#tuple.lasting = this.#rest.length >= LONG_BYTES;
      if (this.#tuple.lasting) this.#rest = NOTHING;
      this.#restBytes = 0;
      this.#row(row, 0, row.length);
      this.#tuple.lasting = false;
      at = end + 1;
    }
    for (let end = chunk.indexOf(NEWLINE, at); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      this.#row(chunk, at, end);
      at = end + 1;
    }
    if (at < chunk.length) this.#keep(chunk.subarray(at));
  }

  #keep(piece: Buffer): void {
    const needed = this.#restBytes + piece.length;
    if (needed > this.#rest.length) {
      const size =
        needed < LONG_BYTES
          ? Math.max(needed, 2 * this.#rest.length)
          : Math.max(needed, this.#rest.length >= LONG_BYTES ? 2 * this.#rest.length : ROW_BYTES_MAX);
      const grown = Buffer.allocUnsafeSlow(size);
      this.#rest.copy(grown, 0, 0, this.#restBytes);
      this.#rest = grown;
    }
    this.#restBytes += piece.copy(this.#rest, this.#restBytes);
  }

  /** Call after the last chunk: half a row is an error. */
  finish(): void {
    if (this.#restBytes > 0) throw decodeFailed('COPY', 'the last row has no end', 0);
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
