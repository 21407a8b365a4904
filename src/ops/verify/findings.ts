import { COLUMN_DIGITS, type KeyTexts } from './statements.js';

export const SAMPLES_MAX = 20;
/** How many differing keys are remembered, so that they can be repaired one by one. */
export const KEYS_MAX = 10_000;

/** A row as it came: hashes alone, and its key. */
export interface HashedRow {
  /** The md5 of the canonical key. */
  readonly key: string;
  /** A piece of md5 for each column, one after the other. */
  readonly columns: string;
  readonly texts: KeyTexts;
}

/** A row that readers see, or a key that was changed after the position (`columns` is then empty). */
export interface VersionedRow extends HashedRow {
  readonly version: bigint;
}

/** Both sides of some keys: Postgres at a position, ClickHouse a little later. */
export interface KeyedRows {
  readonly postgres: readonly HashedRow[];
  readonly clickHouse: readonly VersionedRow[];
  readonly changed: readonly VersionedRow[];
  /** Versions from here on are of transactions that had not been committed when ClickHouse was read: nobody but a hand wrote them. */
  readonly impossibleFrom: bigint;
}

/** What was found of a table, key by key, over all passes. */
export class Findings {
  missing = 0;
  extra = 0;
  different = 0;
  quarantined = 0;
  readonly differentColumns = new Map<number, number>();
  readonly samples: Record<'missing' | 'extra' | 'different', KeyTexts[]> = {
    missing: [],
    extra: [],
    different: [],
  };
  readonly #quarantined: (texts: KeyTexts) => boolean;
  readonly #keys: KeyTexts[] = [];

  constructor(quarantined: (texts: KeyTexts) => boolean) {
    this.#quarantined = quarantined;
  }

  /**
   * Sets rows against each other. Gives back the keys that say nothing yet: they have been changed since the position, so what ClickHouse had
   * then may be gone.
   */
  settle(rows: KeyedRows): Map<string, KeyTexts> {
    const pending = new Map<string, KeyTexts>();
    for (const { key, texts, version } of rows.changed) {
      if (version < rows.impossibleFrom) pending.set(key, texts);
    }
    const expected = new Map(rows.postgres.map((row) => [row.key, row]));
    const settled = new Set<string>();
    for (const row of rows.clickHouse) {
      if (pending.has(row.key)) continue;
      const wanted = expected.get(row.key);
      if (wanted === undefined || settled.has(row.key)) this.#note('extra', row.texts);
      else if (wanted.columns !== row.columns) this.#noteDifferent(wanted, row);
      settled.add(row.key);
    }
    for (const [key, { texts }] of expected) {
      if (pending.has(key) || settled.has(key)) continue;
      if (this.#quarantined(texts)) this.quarantined += 1;
      else this.#note('missing', texts);
    }
    return pending;
  }

  /** Of all that was found; null when it is more than KEYS_MAX. */
  get keys(): readonly KeyTexts[] | null {
    return this.missing + this.extra + this.different > KEYS_MAX ? null : this.#keys;
  }

  #noteDifferent(wanted: HashedRow, row: HashedRow): void {
    this.#note('different', wanted.texts);
    for (let place = 0; place * COLUMN_DIGITS < wanted.columns.length; place += 1) {
      const at = place * COLUMN_DIGITS;
      if (wanted.columns.slice(at, at + COLUMN_DIGITS) === row.columns.slice(at, at + COLUMN_DIGITS))
        continue;
      this.differentColumns.set(place, (this.differentColumns.get(place) ?? 0) + 1);
    }
  }

  #note(kind: 'missing' | 'extra' | 'different', texts: KeyTexts): void {
    this[kind] += 1;
    if (this.#keys.length < KEYS_MAX) this.#keys.push(texts);
    if (this.samples[kind].length < SAMPLES_MAX) this.samples[kind].push(texts);
  }
}
