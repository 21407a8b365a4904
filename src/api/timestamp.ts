/** Microseconds since 1970-01-01 UTC: the precision of Postgres, which a Date does not have. */
export type Micros = bigint;

export const MICROS_PER_MS = 1000n;

// A space may stand for the T (RFC 3339 allows it), and for the plus of the offset: a query string that was not
// percent-encoded turns it into one, and nothing else could be meant there.
const TIMESTAMP =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,6})0*)?(?:([Zz])|([+\- ])(\d{2}):?(\d{2}))$/;

/**
 * Reads an RFC 3339 timestamp with up to microseconds: `2026-11-21T09:00:00.123456Z`, `2026-11-21T10:00:00+01:00`.
 * Null when it is none: no offset, a date that does not exist, more than six significant decimals.
 */
export function parseTimestamp(text: string): Micros | null {
  const match = TIMESTAMP.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction, , sign, offsetHour, offsetMinute] = match;
  const parts = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const localMs = Date.UTC(parts[0], parts[1] - 1, parts[2], parts[3], parts[4], parts[5]);
  // Date.UTC carries the 31st of April over to May; what comes back must be what went in.
  const local = new Date(localMs);
  if (
    local.getUTCFullYear() !== parts[0] ||
    local.getUTCMonth() !== parts[1] - 1 ||
    local.getUTCDate() !== parts[2] ||
    parts[3] > 23 ||
    parts[4] > 59 ||
    parts[5] > 59
  ) {
    return null;
  }
  let offsetMs = 0;
  if (sign !== undefined) {
    const hours = Number(offsetHour);
    const minutes = Number(offsetMinute);
    if (hours > 23 || minutes > 59) return null;
    offsetMs = (hours * 60 + minutes) * 60_000 * (sign === '-' ? -1 : 1);
  }
  return BigInt(localMs - offsetMs) * MICROS_PER_MS + BigInt((fraction ?? '').padEnd(6, '0'));
}

/** `2026-11-21T09:00:00.123Z`; six decimals where the microseconds are not whole milliseconds. */
export function formatTimestamp(micros: Micros): string {
  const below = mod(micros, MICROS_PER_MS);
  const text = new Date(Number((micros - below) / MICROS_PER_MS)).toISOString();
  return below === 0n ? text : `${text.slice(0, -1)}${below.toString().padStart(3, '0')}Z`;
}

/** `2026-11-21 09:00:00.123456`: how ClickHouse reads a DateTime64(6, 'UTC'). */
export function clickHouseTimestamp(micros: Micros): string {
  const below = mod(micros, MICROS_PER_MS);
  const text = new Date(Number((micros - below) / MICROS_PER_MS)).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${below.toString().padStart(3, '0')}`;
}

/** Milliseconds, with or without a fraction, as microseconds. */
export function microsFromMs(ms: number): Micros {
  const whole = Math.floor(ms);
  return BigInt(whole) * MICROS_PER_MS + BigInt(Math.floor((ms - whole) * 1000));
}

function mod(value: bigint, by: bigint): bigint {
  const rest = value % by;
  return rest < 0n ? rest + by : rest;
}
