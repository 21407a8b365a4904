import { CANNOT_HOLD, encodeText, type Encoder } from './encoders.js';
import type { Mapping } from './types.js';

const QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const SPACE = 0x20;
const COLON = 0x3a;
const ARROW = Buffer.from('=>');
const NULL_TEXT = Buffer.from('NULL');

/** What stood between quotes, without them and their backslashes. */
let plain = Buffer.alloc(1024);

/**
 * What hstore's output function prints, `"a"=>"1", "b"=>NULL`, as `{'a':'1','b':NULL}`. Keys and values are always quoted there, so NULL
 * without quotes is a null. https://www.postgresql.org/docs/current/hstore.html
 */
export const encodeHstore: Encoder = (out, at, bytes, start, end) => {
  let read = start;
  out[at++] = 0x7b;
  while (read < end) {
    if (read > start) {
      if (bytes[read] !== COMMA || bytes[read + 1] !== SPACE) return CANNOT_HOLD;
      read += 2;
      out[at++] = COMMA;
    }
    const key = unquoted(bytes, read, end);
    if (key === null || bytes.compare(ARROW, 0, 2, key.next, key.next + 2) !== 0) return CANNOT_HOLD;
    at = writeQuoted(out, at, key.length);
    out[at++] = COLON;
    read = key.next + 2;
    if (read + 4 <= end && bytes.compare(NULL_TEXT, 0, 4, read, read + 4) === 0) {
      at += NULL_TEXT.copy(out, at);
      read += 4;
      continue;
    }
    const value = unquoted(bytes, read, end);
    if (value === null) return CANNOT_HOLD;
    at = writeQuoted(out, at, value.length);
    read = value.next;
  }
  out[at++] = 0x7d;
  return at;
};

export const HSTORE_MAP: Mapping = {
  base: 'Map(String, Nullable(String))',
  encode: encodeHstore,
  blank: '{}',
};

/** Reads a quoted text into `plain`; null where there is none. */
function unquoted(bytes: Buffer, from: number, end: number): { length: number; next: number } | null {
  if (bytes[from] !== QUOTE) return null;
  if (plain.length < end - from) plain = Buffer.alloc(2 * (end - from));
  let length = 0;
  for (let read = from + 1; read < end; read += 1) {
    let byte = bytes[read]!;
    if (byte === QUOTE) return { length, next: read + 1 };
    if (byte === BACKSLASH) byte = bytes[++read]!;
    plain[length++] = byte;
  }
  return null;
}

/** Writes what is in `plain` between single quotes. */
function writeQuoted(out: Buffer, at: number, length: number): number {
  out[at++] = SINGLE_QUOTE;
  let from = 0;
  for (let i = 0; i <= length; i += 1) {
    if (i < length && plain[i] !== SINGLE_QUOTE) continue;
    at = encodeText(out, at, plain, from, i);
    if (i < length) {
      out[at++] = BACKSLASH;
      out[at++] = SINGLE_QUOTE;
    }
    from = i + 1;
  }
  out[at++] = SINGLE_QUOTE;
  return at;
}
