const TIMESTAMP = /^(\d{4,6})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?$/;

/** Reads a timestamptz in ISO style (`2026-11-21 09:00:00.123456+00`) as microseconds since 1970 UTC; null if it is none. */
export function timestampUs(text: string): bigint | null {
  const match = TIMESTAMP.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction, sign, zoneHours, zoneMinutes] = match;
  const utcMs = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  );
  const zoneMs = (Number(zoneHours) * 60 + Number(zoneMinutes ?? 0)) * 60_000;
  const ms = sign === '-' ? utcMs + zoneMs : utcMs - zoneMs;
  return BigInt(ms) * 1000n + BigInt((fraction ?? '').padEnd(6, '0'));
}
