import { type CanonicalRow, digestOf, hash32 } from './tally.js';

/** A key as a person reads it: its columns' texts, in the order of the key. */
export type KeyTexts = readonly (string | null)[];

export const SAMPLES_MAX = 20;

interface KnownRow {
  readonly digest: string;
  /** A hash of each value, to name the columns that differ without keeping their values. */
  readonly hashes: Uint32Array;
  readonly keyTexts: KeyTexts;
}

/**
 * Sets the rows of some buckets against each other by key. Postgres's rows are given first, then ClickHouse's; a key that comes
 * more than once (a table without a real key, or duplicates in ClickHouse) is compared as often as it comes.
 */
export class Differences {
  missing = 0;
  extra = 0;
  different = 0;
  quarantined = 0;
  readonly differentColumns = new Map<number, number>();
  readonly samples: { missing: KeyTexts[]; extra: KeyTexts[]; different: KeyTexts[] } = {
    missing: [],
    extra: [],
    different: [],
  };
  readonly #rows = new Map<string, KnownRow[]>();
  readonly #unmatched = new Map<string, KnownRow[]>();
  readonly #quarantinedKeys: ReadonlySet<string>;

  constructor(quarantinedKeys: ReadonlySet<string>) {
    this.#quarantinedKeys = quarantinedKeys;
  }

  addPostgres(row: CanonicalRow, keyTexts: KeyTexts): void {
    push(this.#rows, row.key, knownRow(row, keyTexts));
  }

  addClickHouse(row: CanonicalRow, keyTexts: KeyTexts): void {
    const known = knownRow(row, keyTexts);
    const candidates = this.#rows.get(row.key);
    const equal = candidates?.findIndex((candidate) => candidate.digest === known.digest) ?? -1;
    if (candidates === undefined || equal < 0) {
      push(this.#unmatched, row.key, known);
      return;
    }
    candidates.splice(equal, 1);
    if (candidates.length === 0) this.#rows.delete(row.key);
  }

  /** Counts what is left without its like, and forgets the rows. */
  settle(): void {
    for (const [key, extras] of this.#unmatched) {
      const candidates = this.#rows.get(key) ?? [];
      for (const extra of extras) {
        const candidate = candidates.pop();
        if (candidate === undefined) this.#note('extra', extra.keyTexts);
        else this.#noteDifferent(candidate, extra);
      }
      if (candidates.length === 0) this.#rows.delete(key);
    }
    for (const [key, rows] of this.#rows) {
      for (const { keyTexts } of rows) {
        if (this.#quarantinedKeys.has(key)) this.quarantined++;
        else this.#note('missing', keyTexts);
      }
    }
    this.#rows.clear();
    this.#unmatched.clear();
  }

  #noteDifferent(postgres: KnownRow, clickHouse: KnownRow): void {
    this.#note('different', postgres.keyTexts);
    for (let column = 0; column < postgres.hashes.length; column++) {
      if (postgres.hashes[column] === clickHouse.hashes[column]) continue;
      this.differentColumns.set(column, (this.differentColumns.get(column) ?? 0) + 1);
    }
  }

  #note(kind: 'missing' | 'extra' | 'different', keyTexts: KeyTexts): void {
    this[kind]++;
    if (this.samples[kind].length < SAMPLES_MAX) this.samples[kind].push(keyTexts);
  }
}

function knownRow(row: CanonicalRow, keyTexts: KeyTexts): KnownRow {
  const hashes = Uint32Array.from(row.fields, (field) => (field === null ? 1 : hash32(field)));
  return { digest: digestOf(row).toString('base64'), hashes, keyTexts };
}

function push<T>(map: Map<string, T[]>, key: string, item: T): void {
  const items = map.get(key);
  if (items === undefined) map.set(key, [item]);
  else items.push(item);
}
