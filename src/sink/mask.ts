import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { RelationStamp } from '../pipeline/relation.js';
import { Tuple } from '../pipeline/tuple.js';

/** SHA-256 in hexadecimal digits. */
const HASH_BYTES = 64;
/** Rows from here on get bytes of their own, so that no large buffer is kept and large values can be lent. */
const OWN_BYTES_FROM = 1024 * 1024;
/** No text of Postgres holds this byte, so no value has the hash of it. */
const KEY_ID = '\0walhouse key id';
const KEY_ID_DIGITS = 16;

/**
 * What stands for the values of masked columns: HMAC-SHA-256 over Postgres's own text, in hexadecimal. The same value has the same hash in
 * every column of every table. The key stays in this process.
 */
export class Masker {
  readonly #key: KeyObject;
  /** Tells keys apart and says nothing of them: may be stored. */
  readonly keyId: string;

  constructor(key: string) {
    this.#key = createSecretKey(key, 'utf8');
    this.keyId = this.hash(KEY_ID).slice(0, KEY_ID_DIGITS);
  }

  hash(text: string | Buffer): string {
    return createHmac('sha256', this.#key).update(text).digest('hex');
  }
}

/** The columns of a table that are masked, for who compares it with its source. */
export interface MaskedColumns {
  readonly names: readonly string[];
  readonly masker: Masker;
}

/** Masks the rows of one table before anything else sees them, so nothing that is made of a row holds what stood there. */
export class RowMask {
  readonly masker: Masker;
  readonly #isMasked: readonly boolean[];
  readonly #row: Tuple;
  readonly #old: Tuple;

  constructor(masker: Masker, isMasked: readonly boolean[]) {
    this.masker = masker;
    this.#isMasked = isMasked;
    this.#row = new Tuple(isMasked.length);
    this.#old = new Tuple(isMasked.length);
  }

  /** Good until the next row comes. */
  row(row: Tuple): Tuple {
    return this.#apply(row, this.#row);
  }

  /** As `row`, for what stood there before it. */
  old(old: Tuple): Tuple {
    return this.#apply(old, this.#old);
  }

  #apply(from: Tuple, to: Tuple): Tuple {
    const isMasked = this.#isMasked;
    let length = 0;
    for (let i = 0; i < isMasked.length; i += 1)
      if (from.start[i]! >= 0) length += isMasked[i] === true ? HASH_BYTES : from.end[i]! - from.start[i]!;
    to.count = from.count;
    if (length >= OWN_BYTES_FROM) {
      to.bytes = Buffer.allocUnsafeSlow(length);
      to.lasting = true;
    } else if (to.lasting || to.bytes.length < length) {
      to.bytes = Buffer.allocUnsafeSlow(Math.min(2 * length, OWN_BYTES_FROM));
      to.lasting = false;
    }
    let at = 0;
    for (let i = 0; i < isMasked.length; i += 1) {
      const start = from.start[i]!;
      if (start < 0) {
        to.start[i] = start;
        continue;
      }
      to.start[i] = at;
      at +=
        isMasked[i] === true
          ? to.bytes.write(this.masker.hash(from.bytes.subarray(start, from.end[i])), at, 'latin1')
          : from.bytes.copy(to.bytes, at, start, from.end[i]);
      to.end[i] = at;
    }
    return to;
  }
}

/** A stamp as it may be stored: what older rows show in masked columns is a value of theirs. */
export function maskedStamp(
  stamp: string | undefined,
  masker: Masker,
  isMasked: (column: string) => boolean,
): string {
  if (stamp === undefined || stamp === '') return '';
  const parsed = JSON.parse(stamp) as RelationStamp;
  const missing = Object.entries(parsed.missing).map(([name, text]): [string, string | false] => [
    name,
    text !== false && isMasked(name) ? masker.hash(text) : text,
  ]);
  return JSON.stringify({ ...parsed, missing: Object.fromEntries(missing) });
}
