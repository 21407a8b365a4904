import { CANNOT_HOLD, VALUE_ROOM, type Encoder } from './encoders.js';
import type { Mapping } from './types.js';

const OPEN = 0x7b;
const CLOSE = 0x7d;
const COMMA = 0x2c;
const QUOTE = 0x22;
const SINGLE_QUOTE = 0x27;
const BACKSLASH = 0x5c;
const ONE = 0x31;
const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL_TEXT = Buffer.from('NULL');

/** An array's elements: arrays themselves, or values of one type. */
type Inner =
  { readonly nested: Mapping & ArrayMapping } | { readonly element: Mapping; readonly nullable: boolean };

interface ArrayMapping {
  readonly inner: Inner;
}

/** Where the reader stands in Postgres's text; one instance, since encoders are not re-entered. */
const reader: { bytes: Buffer; at: number; end: number } = { bytes: Buffer.alloc(0), at: 0, end: 0 };
/** An element's text without quotes and backslashes, and the same as its encoder writes it. */
let plain = Buffer.alloc(1024);
let encoded = Buffer.alloc(2 * 1024 + VALUE_ROOM);

/**
 * A Postgres array as a ClickHouse one of exactly as many dimensions. Other dimensions and bounds of its own (`[0:1]={1,2}`) cannot
 * be held, a null neither. An element of one byte and its comma become at most `false,`, which `ARRAY_GROWTH` makes room for.
 */
export function arrayMapping(base: string, inner: { nested: Mapping } | Exclude<Inner, { nested: Mapping }>) {
  const known = inner as Inner;
  const encode: Encoder = (out, at, bytes, start, end) => {
    reader.bytes = bytes;
    reader.at = start;
    reader.end = end;
    const next = writeList(known, out, at);
    return next !== CANNOT_HOLD && reader.at === end ? next : CANNOT_HOLD;
  };
  return { base, encode, blank: '[]', inner: known };
}

/** How often longer than Postgres's text an array may become. */
export const ARRAY_GROWTH = 3;

function writeList(inner: Inner, out: Buffer, at: number): number {
  const { bytes, end } = reader;
  if (reader.at >= end || bytes[reader.at] !== OPEN) return CANNOT_HOLD;
  reader.at += 1;
  out[at++] = 0x5b;
  if (reader.at < end && bytes[reader.at] === CLOSE) {
    reader.at += 1;
    out[at++] = 0x5d;
    return at;
  }
  for (;;) {
    at = 'nested' in inner ? writeList(inner.nested.inner, out, at) : writeElement(inner, out, at);
    if (at === CANNOT_HOLD || reader.at >= end) return CANNOT_HOLD;
    const byte = bytes[reader.at];
    reader.at += 1;
    if (byte === CLOSE) {
      out[at++] = 0x5d;
      return at;
    }
    if (byte !== COMMA) return CANNOT_HOLD;
    out[at++] = COMMA;
  }
}

function writeElement(inner: { element: Mapping; nullable: boolean }, out: Buffer, at: number): number {
  const { bytes, end } = reader;
  const quoted = bytes[reader.at] === QUOTE;
  const length = quoted ? readQuoted() : readBare();
  if (length < 0) return CANNOT_HOLD;
  if (!quoted && length === NULL_TEXT.length && plain.compare(NULL_TEXT, 0, length, 0, length) === 0)
    return inner.nullable ? at + NULL_TEXT.copy(out, at) : CANNOT_HOLD;
  if (reader.at > end || (!quoted && length === 0)) return CANNOT_HOLD;
  const { base, encode } = inner.element;
  const size = encode(encoded, 0, plain, 0, length);
  if (size === CANNOT_HOLD) return CANNOT_HOLD;
  // Inside an array ClickHouse reads no 1 and 0.
  if (base === 'Bool') return at + (encoded[0] === ONE ? TRUE : FALSE).copy(out, at);
  const isBare = /^(U?Int|Float|Decimal)/.test(base);
  if (isBare) return at + encoded.copy(out, at, 0, size);
  out[at++] = SINGLE_QUOTE;
  for (let i = 0; i < size; i += 1) {
    if (encoded[i] === SINGLE_QUOTE) out[at++] = BACKSLASH;
    out[at++] = encoded[i]!;
  }
  out[at++] = SINGLE_QUOTE;
  return at;
}

/** Both readers put the element's text into `plain` and return its length; negative where it is no element. */
function readQuoted(): number {
  const { bytes, end } = reader;
  let at = reader.at + 1;
  let length = 0;
  makeRoom(end - at);
  for (;;) {
    if (at >= end) return -1;
    let byte = bytes[at++]!;
    if (byte === QUOTE) break;
    if (byte === BACKSLASH) {
      if (at >= end) return -1;
      byte = bytes[at++]!;
    }
    plain[length++] = byte;
  }
  reader.at = at;
  return length;
}

function readBare(): number {
  const { bytes, end } = reader;
  let at = reader.at;
  while (at < end && bytes[at] !== COMMA && bytes[at] !== CLOSE) {
    if (bytes[at] === OPEN || bytes[at] === QUOTE) return -1;
    at += 1;
  }
  const length = at - reader.at;
  makeRoom(length);
  bytes.copy(plain, 0, reader.at, at);
  reader.at = at;
  return length;
}

function makeRoom(length: number): void {
  if (plain.length >= length) return;
  plain = Buffer.alloc(2 * length);
  encoded = Buffer.alloc(2 * plain.length + VALUE_ROOM);
}
