import type { TransactionStart } from '../pipeline/change.js';
import { ABSENT, NULL, type Tuple } from '../pipeline/tuple.js';
import { CANNOT_HOLD, VALUE_ROOM } from './encoders.js';
import type { TablePlan } from './plan.js';
import type { RowBuffer } from './row-buffer.js';
import type { Stamp } from './row-encoder.js';

/** What happened: created, updated, deleted, read by a snapshot, truncated. */
export type Operation = 'c' | 'u' | 'd' | 'r' | 't';

/** A byte in a JSON string in TabSeparated takes at most `\\u00XX`, seven bytes. */
const GROWTH_MAX = 7;

const TAB = 9;
const QUOTE = 34;
const COMMA = 44;
const COLON = 58;
const BACKSLASH = 92;
const NULL_FIELD = Buffer.from('\\N');
const JSON_NULL = Buffer.from('null');

/**
 * One row a change for the audit trail. Key, before and after are JSON objects of Postgres's own texts, so they
 * hold every value exactly, those too that ClickHouse's types cannot.
 */
export class AuditRows {
  readonly out: RowBuffer;
  readonly #plan: TablePlan;
  readonly #all: readonly number[];
  readonly #retention: number;
  /** `"name":` of each column, as it stands in the encoded JSON. */
  readonly #names: readonly Buffer[];

  constructor(plan: TablePlan, out: RowBuffer) {
    this.#plan = plan;
    this.out = out;
    this.#all = plan.columns.map((_, index) => index);
    this.#retention = plan.columns.findIndex(({ name }) => name === plan.retention?.column);
    this.#names = plan.columns.map(({ name }) => {
      const raw = Buffer.from(name);
      const encoded = Buffer.alloc(raw.length * GROWTH_MAX + 3);
      let at = writeString(encoded, 0, raw, 0, raw.length);
      encoded[at++] = COLON;
      return encoded.subarray(0, at);
    });
  }

  /** Writes one row in the order of AUDIT_COLUMNS. */
  add(
    op: Operation,
    before: Tuple | null,
    after: Tuple | null,
    stamp: Stamp,
    transaction: Pick<TransactionStart, 'commitLsn' | 'xid'>,
    step: number,
  ): void {
    const { out } = this;
    const image = after ?? before;
    out.reserve(2 * this.#room(image, before) + this.#room(before, null) + this.#room(after, before) + 256);
    const { bytes } = out;
    let at = out.at;
    bytes[at++] = op.charCodeAt(0);
    bytes[at++] = TAB;
    if (image !== null) at = this.#writeImage(bytes, at, image, null, this.#plan.relation.key);
    bytes[at++] = TAB;
    at = this.#writeImage(bytes, at, before, null, this.#all);
    bytes[at++] = TAB;
    at = this.#writeImage(bytes, at, after, before, this.#all);
    bytes[at++] = TAB;
    at = this.#writeDate(bytes, at, before, after);
    const rest = `\t${stamp.version(step)}\t${stamp.committedAt.toString()}\t${transaction.commitLsn}\t${(step - 1) / 2}\t${transaction.xid}\n`;
    out.at = at + bytes.write(rest, at, 'latin1');
    out.rows += 1;
  }

  #room(image: Tuple | null, old: Tuple | null): number {
    let room = 64;
    if (image === null) return room;
    for (let i = 0; i < this.#names.length; i += 1) {
      const from = image.start[i] === ABSENT && old !== null ? old : image;
      const start = from.start[i]!;
      room += this.#names[i]!.length + VALUE_ROOM + (start < 0 ? 0 : GROWTH_MAX * (from.end[i]! - start));
    }
    return room;
  }

  #writeImage(
    bytes: Buffer,
    at: number,
    image: Tuple | null,
    old: Tuple | null,
    columns: readonly number[],
  ): number {
    if (image === null) return at + NULL_FIELD.copy(bytes, at);
    bytes[at++] = 123;
    let first = true;
    for (const i of columns) {
      const from = image.start[i] === ABSENT && old !== null ? old : image;
      const start = from.start[i]!;
      if (start < NULL) continue;
      if (!first) bytes[at++] = COMMA;
      first = false;
      at += this.#names[i]!.copy(bytes, at);
      at =
        start === NULL
          ? at + JSON_NULL.copy(bytes, at)
          : writeString(bytes, at, from.bytes, start, from.end[i]!);
    }
    bytes[at++] = 125;
    return at;
  }

  /** The earlier of both images' retention dates: with it the row holds something that must go. */
  #writeDate(bytes: Buffer, at: number, before: Tuple | null, after: Tuple | null): number {
    const first = this.#encodeDate(bytes, at, before);
    const second = this.#encodeDate(bytes, first, after);
    if (second === at) return at + NULL_FIELD.copy(bytes, at);
    if (first === at) return second;
    if (second === first || bytes.compare(bytes, first, second, at, first) <= 0) return first;
    return at + bytes.copy(bytes, at, first, second);
  }

  #encodeDate(bytes: Buffer, at: number, image: Tuple | null): number {
    const column = this.#retention;
    if (column < 0 || image === null) return at;
    const start = image.start[column]!;
    if (start < 0) return at;
    const { encode } = this.#plan.columns[column]!.stored;
    const end = encode(bytes, at, image.bytes, start, image.end[column]!);
    return end === CANNOT_HOLD ? at : end;
  }
}

const HEX = Buffer.from('0123456789abcdef');

/** A JSON string inside a TabSeparated field: JSON's own backslashes are doubled. */
function writeString(out: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  out[at++] = QUOTE;
  for (let i = start; i < end; i += 1) {
    const byte = bytes[i]!;
    if (byte >= 32 && byte !== QUOTE && byte !== BACKSLASH) {
      out[at++] = byte;
      continue;
    }
    out[at++] = BACKSLASH;
    out[at++] = BACKSLASH;
    if (byte === QUOTE) {
      out[at++] = QUOTE;
    } else if (byte === BACKSLASH) {
      out[at++] = BACKSLASH;
      out[at++] = BACKSLASH;
    } else {
      out[at++] = 0x75;
      out[at++] = 48;
      out[at++] = 48;
      out[at++] = HEX[byte >> 4]!;
      out[at++] = HEX[byte & 15]!;
    }
  }
  out[at++] = QUOTE;
  return at;
}
