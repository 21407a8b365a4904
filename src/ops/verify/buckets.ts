const MASK = (1n << 64n) - 1n;
/** Rows that a bucket should hold, so that looking into one is cheap and there are few of them. */
const ROWS_EACH = 1_000;
const COUNT_MIN = 16;
const COUNT_MAX = 65_536;

/** A power of two, by the size of the table. */
export function bucketCount(rows: number): number {
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, rows / ROWS_EACH)));
  return Math.min(COUNT_MAX, Math.max(COUNT_MIN, wanted));
}

/**
 * Counts and sums of row hashes by bucket of one side, modulo 2^64. Sums can be taken apart and put together in any order: pieces of a
 * table are added, rows that are to be left out are taken away.
 */
export class Buckets {
  readonly counts: Float64Array;
  readonly sums: BigUint64Array;

  constructor(count: number) {
    this.counts = new Float64Array(count);
    this.sums = new BigUint64Array(count);
  }

  add(bucket: number, count: number, sum: bigint): void {
    this.counts[bucket]! += count;
    this.sums[bucket] = (this.sums[bucket]! + sum) & MASK;
  }

  takeAway(bucket: number, count: number, sum: bigint): void {
    this.add(bucket, -count, -sum);
  }

  get rows(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** The buckets that differ, in groups of at most `rowsMax` rows of either side (a group of one bucket may be larger). */
  differing(other: Buckets, rowsMax: number): number[][] {
    const groups: number[][] = [];
    let rows = Infinity;
    for (let bucket = 0; bucket < this.counts.length; bucket += 1) {
      if (this.counts[bucket] === other.counts[bucket] && this.sums[bucket] === other.sums[bucket]) continue;
      const size = Math.max(this.counts[bucket]!, other.counts[bucket]!);
      if (rows + size > rowsMax) {
        groups.push([]);
        rows = 0;
      }
      groups.at(-1)!.push(bucket);
      rows += size;
    }
    return groups;
  }
}
