import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { Repaired, RepairWriter } from '../pipeline/sink.js';
import type { RetentionCut } from '../pipeline/source.js';
import { type Tuple, tupleOf } from '../pipeline/tuple.js';
import { versionBound } from '../pipeline/version.js';
import { encodedKey, readLanding, type Candidate } from './incomplete.js';
import type { MartImage } from './mart-images.js';
import type { TablePlan } from './plan.js';
import type { Server } from './server.js';
import type { SnapshotRows } from './snapshot-rows.js';

/**
 * The source's rows of some keys, and tombstones for all that stands under these keys now. Both bear the version of the consistent point, the
 * tombstones at step 0 and the rows, which win, at step 1; so nobody has to find out which of what is there is right. They go as one
 * insert, so readers see a key as it was or as it is, and marts get them through their feeds like any other change.
 */
export class RepairRows implements RepairWriter {
  readonly #plan: TablePlan;
  readonly #server: Server;
  readonly #rows: SnapshotRows;
  readonly #martImages: (keys: readonly string[]) => Promise<MartImage[]>;
  /** The newest version that stands under each key. */
  readonly #newest = new Map<string, bigint>();
  #hidden = 0;

  constructor(parts: {
    plan: TablePlan;
    server: Server;
    /** Of the readers' copy, at step 1. */
    rows: SnapshotRows;
    /** What the marts over the table show of keys as `encodedKey` writes them. */
    martImages: (keys: readonly string[]) => Promise<MartImage[]>;
  }) {
    this.#plan = parts.plan;
    this.#server = parts.server;
    this.#rows = parts.rows;
    this.#martImages = parts.martImages;
  }

  get cut(): RetentionCut | undefined {
    return this.#rows.cut;
  }

  get bytes(): number {
    return this.#rows.bytes;
  }

  add(row: Tuple): void {
    this.#rows.add(row);
  }

  async look(keys: readonly (readonly string[])[]): Promise<void> {
    const { relation } = this.#plan;
    const encoded = keys.map((texts) => encodedKey(this.#plan, keyTuple(relation, texts)));
    // What cannot be encoded was never stored.
    const known = [...new Set(encoded.filter((key) => key !== null))];
    if (known.length === 0) return;
    for (const [key, candidates] of await readLanding(this.#plan, known, this.#server)) {
      for (const { version } of candidates) this.#met(key, version);
      for (const { fields } of this.#shown(candidates)) {
        this.#rows.hide(fields);
        this.#hidden += 1;
      }
    }
    for (const { fields, version } of await this.#martImages(known)) {
      this.#met(this.#keyOf(fields), version);
      this.#rows.hide(fields);
    }
  }

  async store(durable: Lsn): Promise<Repaired> {
    const bound = versionBound(durable);
    const beyond = [...this.#newest.values()].filter((version) => version >= bound).length;
    const rows = this.#rows.rows;
    await this.#rows.flush(true);
    return { rows, hidden: this.#hidden, beyond };
  }

  #met(key: string, version: bigint): void {
    const newest = this.#newest.get(key);
    if (newest === undefined || version > newest) this.#newest.set(key, version);
  }

  /** Of the versions under each sort key the newest, where it is a row: what readers see, all of it where versions are equal. */
  #shown(candidates: readonly Candidate[]): { fields: readonly string[] }[] {
    const { columns } = this.#plan;
    const newest = new Map<string, Candidate[]>();
    for (const candidate of candidates) {
      const place = candidate.fields.filter((_, index) => columns[index]?.sorts === true).join('\t');
      const before = newest.get(place)?.[0];
      if (before === undefined || candidate.version > before.version) newest.set(place, [candidate]);
      else if (candidate.version === before.version) newest.get(place)!.push(candidate);
    }
    return [...newest.values()]
      .flat()
      .filter(({ isDeleted }) => !isDeleted)
      .map(({ fields }) => ({ fields: fields.slice(0, columns.length) }));
  }

  #keyOf(fields: readonly string[]): string {
    return this.#plan.relation.key.map((index) => fields[index]!).join('\t');
  }
}

/** A row of which the key alone was sent. */
function keyTuple(relation: Relation, texts: readonly string[]): Tuple {
  const values = new Map(relation.key.map((index, place) => [index, texts[place]!]));
  return tupleOf(relation.columns.map((_, index) => values.get(index)));
}
