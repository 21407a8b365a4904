const INT64_TEXT = /^(?:0|-?[1-9]\d{0,18})$/;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** Reads an int8 as Postgres writes it, in its one spelling; null for anything else: `+1`, `01`, `1e3`, ` 1`, 2^63. */
export function parseInt64(text: string): bigint | null {
  if (!INT64_TEXT.test(text)) return null;
  const value = BigInt(text);
  return value < INT64_MIN || value > INT64_MAX ? null : value;
}
