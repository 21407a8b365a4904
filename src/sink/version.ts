/** TTL and Decimal arithmetic as it is used here came with 25.7; 25.8 is the first long-term release after it. */
export const VERSION_MIN = [25, 8] as const;

/** Whether ClickHouse's `version()` is one that Walhouse works with. */
export function atLeast(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1]);
}
