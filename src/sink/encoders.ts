/**
 * Copies one value, Postgres's own text in `bytes[start, end)`, into `out` at `at` as TabSeparated wants it.
 * Returns the position after it, or CANNOT_HOLD when the ClickHouse type could not hold the value exactly.
 * `out` has room for `2 * (end - start) + VALUE_ROOM` bytes.
 */
export type Encoder = (out: Buffer, at: number, bytes: Buffer, start: number, end: number) => number;

export const CANNOT_HOLD = -1;
/** What a value may take beyond twice its own length. */
export const VALUE_ROOM = 16;

const ZERO = 48;
const MINUS = 45;
const DOT = 46;
const BACKSLASH = 92;
const COLON = 58;
const LETTER_I = 73;
const LETTER_N = 78;

/** For each byte the letter that stands for it after a backslash; 0 for bytes that stand for themselves. */
const ESCAPE = new Uint8Array(256);
for (const [byte, letter] of [
  [0x00, '0'],
  [0x08, 'b'],
  [0x09, 't'],
  [0x0a, 'n'],
  [0x0c, 'f'],
  [0x0d, 'r'],
  [0x5c, '\\'],
] as const) {
  ESCAPE[byte] = letter.charCodeAt(0);
}

/** Below this many bytes a plain loop is quicker than a call to copy. */
const COPY_FROM = 48;

/** Text of any kind. */
export const encodeText: Encoder = (out, at, bytes, start, end) => {
  let i = start;
  while (i < end) {
    let run = i;
    while (run < end && ESCAPE[bytes[run]!] === 0) run += 1;
    if (run - i >= COPY_FROM) {
      bytes.copy(out, at, i, run);
      at += run - i;
    } else {
      for (; i < run; i += 1) out[at++] = bytes[i]!;
    }
    if (run === end) return at;
    out[at++] = BACKSLASH;
    out[at++] = ESCAPE[bytes[run]!]!;
    i = run + 1;
  }
  return at;
};

/** How many bytes of a value need a backslash. */
export function countEscapes(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  for (let i = start; i < end; i += 1) if (ESCAPE[bytes[i]!] !== 0) count += 1;
  return count;
}

/** bytea in its hex form, `\x` and two digits a byte, as the bytes themselves. */
export const encodeBytea: Encoder = (out, at, bytes, start, end) => {
  if ((end - start) % 2 !== 0 || bytes[start] !== BACKSLASH || bytes[start + 1] !== 0x78) return CANNOT_HOLD;
  for (let i = start + 2; i < end; i += 2) {
    const high = hexDigit(bytes[i]!);
    const low = hexDigit(bytes[i + 1]!);
    if (high < 0 || low < 0) return CANNOT_HOLD;
    const byte = (high << 4) | low;
    const letter = ESCAPE[byte]!;
    if (letter !== 0) {
      out[at++] = BACKSLASH;
      out[at++] = letter;
    } else {
      out[at++] = byte;
    }
  }
  return at;
};

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  if (byte >= 97 && byte <= 102) return byte - 87;
  return -1;
}

export const encodeBool: Encoder = (out, at, bytes, start, end) => {
  if (end - start !== 1) return CANNOT_HOLD;
  const byte = bytes[start];
  if (byte !== 0x74 && byte !== 0x66) return CANNOT_HOLD;
  out[at] = byte === 0x74 ? 49 : 48;
  return at + 1;
};

/** Whole numbers between two bounds; ClickHouse itself would wrap in silence. */
export function integerEncoder(lowest: bigint, highest: bigint): Encoder {
  const most = highest.toString().length;
  const highestText = Buffer.from(highest.toString());
  const lowestText = Buffer.from((-lowest).toString());
  return (out, at, bytes, start, end) => {
    const negative = bytes[start] === MINUS;
    const first = negative ? start + 1 : start;
    const digits = end - first;
    if (digits < 1 || digits > most || (negative && lowest === 0n)) return CANNOT_HOLD;
    if (digits === most) {
      const bound = negative ? lowestText : highestText;
      if (bytes.compare(bound, 0, bound.length, first, end) > 0) return CANNOT_HOLD;
    }
    if (negative) out[at++] = MINUS;
    for (let i = first; i < end; i += 1) {
      const byte = bytes[i]!;
      if (byte < 48 || byte > 57) return CANNOT_HOLD;
      out[at++] = byte;
    }
    return at;
  };
}

/** Decimal(precision, scale): digits beyond either would be dropped in silence. NaN and Infinity are no digits. */
export function decimalEncoder(precision: number, scale: number): Encoder {
  const wholeMax = precision - scale;
  return (out, at, bytes, start, end) => {
    let i = start;
    if (bytes[i] === MINUS) out[at++] = bytes[i++]!;
    const first = i;
    let leading = true;
    let whole = 0;
    for (; i < end; i += 1) {
      const byte = bytes[i]!;
      if (byte < 48 || byte > 57) break;
      if (byte !== ZERO) leading = false;
      if (!leading) whole += 1;
      out[at++] = byte;
    }
    if (i === first || whole > wholeMax) return CANNOT_HOLD;
    if (i === end) return at;
    if (bytes[i] !== DOT || i + 1 === end) return CANNOT_HOLD;
    let fraction = end - i - 1;
    // Zeros past the scale say nothing.
    let last = end;
    while (fraction > scale && bytes[last - 1] === ZERO) {
      fraction -= 1;
      last -= 1;
    }
    if (fraction > scale) return CANNOT_HOLD;
    out[at++] = DOT;
    for (i += 1; i < last; i += 1) {
      const byte = bytes[i]!;
      if (byte < 48 || byte > 57) return CANNOT_HOLD;
      out[at++] = byte;
    }
    // `1.` would be read, but is nobody's way of writing 1.
    return out[at - 1] === DOT ? at - 1 : at;
  };
}

const NAN = Buffer.from('nan');
const INF = Buffer.from('inf');
const IN_FLOAT = new Uint8Array(256);
for (const byte of Buffer.from('0123456789.e+-')) IN_FLOAT[byte] = 1;

/** float4 and float8: Postgres's shortest exact digits, and its words for what is no number. */
export const encodeFloat: Encoder = (out, at, bytes, start, end) => {
  let i = start;
  if (bytes[i] === MINUS) out[at++] = bytes[i++]!;
  const byte = bytes[i];
  if (byte === LETTER_N && end - i === 3) return at + NAN.copy(out, at); // NaN
  if (byte === LETTER_I && end - i === 8) return at + INF.copy(out, at); // Infinity
  if (i === end) return CANNOT_HOLD;
  for (; i < end; i += 1) {
    const digit = bytes[i]!;
    if (IN_FLOAT[digit] === 0) return CANNOT_HOLD;
    out[at++] = digit;
  }
  return at;
};

/**
 * A number kept as text. Anything that cannot begin one is none: wal2json's `null` for NaN and the infinities comes
 * this way.
 */
export const encodeNumberText: Encoder = (out, at, bytes, start, end) => {
  const first = bytes[start]!;
  const begins = (first >= 48 && first <= 57) || first === MINUS || first === LETTER_N || first === LETTER_I;
  return begins && end > start ? encodeText(out, at, bytes, start, end) : CANNOT_HOLD;
};

/** 8-4-4-4-12 digits. ClickHouse would refuse the whole insert for anything else. */
export const encodeUuid: Encoder = (out, at, bytes, start, end) => {
  if (end - start !== 36) return CANNOT_HOLD;
  for (let i = 0; i < 36; i += 1) {
    const byte = bytes[start + i]!;
    const dash = i === 8 || i === 13 || i === 18 || i === 23;
    if (dash ? byte !== MINUS : hexDigit(byte) < 0) return CANNOT_HOLD;
    out[at++] = byte;
  }
  return at;
};

/** An inet that is one IPv4 address; one with a mask is another value. */
export const encodeIpv4: Encoder = (out, at, bytes, start, end) => {
  let dots = 0;
  for (let i = start; i < end; i += 1) {
    const byte = bytes[i]!;
    if (byte === DOT) dots += 1;
    else if (byte < 48 || byte > 57) return CANNOT_HOLD;
    out[at++] = byte;
  }
  return dots === 3 ? at : CANNOT_HOLD;
};

/** An inet that is one IPv6 address. An IPv4 one would become `::ffff:` of it. */
export const encodeIpv6: Encoder = (out, at, bytes, start, end) => {
  let colons = 0;
  for (let i = start; i < end; i += 1) {
    const byte = bytes[i]!;
    if (byte === COLON) colons += 1;
    else if (byte !== DOT && hexDigit(byte) < 0) return CANNOT_HOLD;
    out[at++] = byte;
  }
  return colons >= 2 ? at : CANNOT_HOLD;
};
