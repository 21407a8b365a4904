import { createHash } from 'node:crypto';

/** One row, ready to be compared. */
export interface CanonicalRow {
  /** The key's values, each with its length in front, so that no two keys share a text. */
  readonly key: string;
  readonly fields: readonly (string | null)[];
}

export const BUCKETS = 1 << 16;
const LANES = 4;

/** Joins values so that different lists give different texts: null is not '', and ('a', 'b') is not ('ab', ''). */
export function joinFields(fields: readonly (string | null)[]): string {
  let text = '';
  for (const field of fields) text += field === null ? '~' : `${field.length}:${field}`;
  return text;
}

/** Which bucket a key falls into, the same on both sides. */
export function bucketOf(key: string): number {
  return (hash32(key) >>> 0) % BUCKETS;
}

/** FNV-1a over one byte a character. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  return hash;
}

export function digestOf(row: CanonicalRow): Buffer {
  return createHash('sha256').update(joinFields(row.fields), 'latin1').digest();
}

/**
 * Sums of row digests by bucket: added for one side, subtracted for the other, in whatever order rows come. A bucket whose sums
 * and counts are zero holds the same rows on both sides. Two megabytes, whatever the size of the table.
 */
export class Tally {
  readonly #sums = new Uint32Array(BUCKETS * LANES);
  readonly #postgres = new Uint32Array(BUCKETS);
  readonly #clickHouse = new Uint32Array(BUCKETS);

  addPostgres(row: CanonicalRow): void {
    const bucket = bucketOf(row.key);
    const digest = digestOf(row);
    this.#postgres[bucket]!++;
    for (let lane = 0; lane < LANES; lane++) {
      this.#sums[bucket * LANES + lane]! += digest.readUInt32LE(lane * 4);
    }
  }

  addClickHouse(row: CanonicalRow): void {
    const bucket = bucketOf(row.key);
    const digest = digestOf(row);
    this.#clickHouse[bucket]!++;
    for (let lane = 0; lane < LANES; lane++) {
      this.#sums[bucket * LANES + lane]! -= digest.readUInt32LE(lane * 4);
    }
  }

  /** The buckets that differ, in groups of at most `rowsMax` rows of either side (a group of one bucket may be larger). */
  differing(rowsMax: number): ReadonlySet<number>[] {
    const groups: Set<number>[] = [];
    let group = new Set<number>();
    let rows = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      if (!this.#differs(bucket)) continue;
      const size = Math.max(this.#postgres[bucket]!, this.#clickHouse[bucket]!);
      if (rows + size > rowsMax && group.size > 0) {
        groups.push(group);
        group = new Set();
        rows = 0;
      }
      group.add(bucket);
      rows += size;
    }
    if (group.size > 0) groups.push(group);
    return groups;
  }

  #differs(bucket: number): boolean {
    if (this.#postgres[bucket] !== this.#clickHouse[bucket]) return true;
    const first = bucket * LANES;
    return this.#sums.subarray(first, first + LANES).some((sum) => sum !== 0);
  }
}
