/** A WAL position: `bigint` in memory, `0/16B3748` at the edges. */
export type Lsn = bigint;

const LSN_TEXT = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** Reads `0/16B3748`; null when the text is not a WAL position. */
export function parseLsn(text: string): Lsn | null {
  const match = LSN_TEXT.exec(text);
  if (match === null) return null;
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Reads a position that the server itself sent; throws when it is none, which would be a bug. */
export function lsnFrom(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn === null) throw new Error(`not a WAL position: ${JSON.stringify(text)}`);
  return lsn;
}

/** Writes a position the way Postgres does: two upper-case hexadecimal halves. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}
