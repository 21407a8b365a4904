import { CANNOT_HOLD, type Encoder } from './encoders.js';

const DASH = 45;
const COLON = 58;
const SPACE = 32;
const DOT = 46;
const PLUS = 43;
const ZERO = 48;

const FIRST_SHORT = Buffer.from('1970-01-01');
const LAST_SHORT = Buffer.from('2149-06-06');

/** Postgres's session time zone is pinned to UTC, so every timestamptz ends like this. */
const UTC_SUFFIX = 3;

/** Date32: 1900-01-01 to 2299-12-31; ClickHouse would clamp anything else in silence. */
export const encodeDate: Encoder = (out, at, bytes, start, end) => {
  if (end - start !== 10 || !isDate(bytes, start)) return CANNOT_HOLD;
  for (let i = start; i < end; i += 1) out[at++] = bytes[i]!;
  return at;
};

/** Date: 1970-01-01 to 2149-06-06. */
export const encodeShortDate: Encoder = (out, at, bytes, start, end) => {
  if (end - start !== 10) return CANNOT_HOLD;
  if (bytes.compare(FIRST_SHORT, 0, 10, start, end) < 0 || bytes.compare(LAST_SHORT, 0, 10, start, end) > 0)
    return CANNOT_HOLD;
  return encodeDate(out, at, bytes, start, end);
};

/** DateTime64 of fewer places: a value that has more is not cut. Postgres prints no zeros at the end. */
export function timestampEncoder(places: number, withZone: boolean): Encoder {
  const encode = withZone ? encodeTimestampTz : encodeTimestamp;
  const lengthMax = 19 + (places === 0 ? 0 : places + 1) + (withZone ? UTC_SUFFIX : 0);
  return (out, at, bytes, start, end) =>
    end - start > lengthMax ? CANNOT_HOLD : encode(out, at, bytes, start, end);
}

/** DateTime64(6, 'UTC') from a timestamp. */
export const encodeTimestamp: Encoder = (out, at, bytes, start, end) => {
  if (!isTimestamp(bytes, start, end)) return CANNOT_HOLD;
  for (let i = start; i < end; i += 1) out[at++] = bytes[i]!;
  return at;
};

/** DateTime64(6, 'UTC') from a timestamptz; any other offset than `+00` would be another moment. */
export const encodeTimestampTz: Encoder = (out, at, bytes, start, end) => {
  const sign = end - UTC_SUFFIX;
  if (sign < start || bytes[sign] !== PLUS || bytes[sign + 1] !== ZERO || bytes[sign + 2] !== ZERO)
    return CANNOT_HOLD;
  return encodeTimestamp(out, at, bytes, start, sign);
};

/** `YYYY-MM-DD hh:mm:ss` and up to six digits; infinities, BC and longer years have other shapes. */
function isTimestamp(bytes: Buffer, start: number, end: number): boolean {
  const length = end - start;
  if (length !== 19 && (length < 21 || length > 26)) return false;
  if (!isDate(bytes, start) || bytes[start + 10] !== SPACE) return false;
  if (bytes[start + 13] !== COLON || bytes[start + 16] !== COLON) return false;
  if (!digits(bytes, start + 11, 2) || !digits(bytes, start + 14, 2) || !digits(bytes, start + 17, 2))
    return false;
  if (length === 19) return true;
  return bytes[start + 19] === DOT && digits(bytes, start + 20, length - 20);
}

function isDate(bytes: Buffer, start: number): boolean {
  if (bytes[start + 4] !== DASH || bytes[start + 7] !== DASH) return false;
  if (!digits(bytes, start, 4) || !digits(bytes, start + 5, 2) || !digits(bytes, start + 8, 2)) return false;
  const century = (bytes[start]! - ZERO) * 10 + (bytes[start + 1]! - ZERO);
  return century >= 19 && century <= 22;
}

function digits(bytes: Buffer, from: number, count: number): boolean {
  for (let i = from; i < from + count; i += 1) {
    const byte = bytes[i]!;
    if (byte < 48 || byte > 57) return false;
  }
  return true;
}

/** Microseconds since 1970 UTC as ClickHouse reads them: `2026-11-21 08:59:59.962001`. */
export function formatMicros(us: bigint): string {
  let seconds = us / 1_000_000n;
  let fraction = us % 1_000_000n;
  if (fraction < 0n) {
    fraction += 1_000_000n;
    seconds -= 1n;
  }
  const date = new Date(Number(seconds) * 1000).toISOString();
  return `${date.slice(0, 10)} ${date.slice(11, 19)}.${fraction.toString().padStart(6, '0')}`;
}
