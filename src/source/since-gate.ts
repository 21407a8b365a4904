import { WalhouseError } from '../pipeline/errors.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { Since } from '../pipeline/source.js';

/** Which changes a decoder passes over: those that are in their table's snapshot, unread, whatever their layout is. */
export class SinceGate {
  readonly #since: Since;
  readonly #relations: readonly Relation[];
  #older = false;
  #commitLsn: Lsn = 0n;

  constructor(relations: readonly Relation[], since: Since | undefined) {
    this.#relations = relations;
    this.#since = since ?? (() => 0n);
  }

  begin(commitLsn: Lsn): void {
    this.#commitLsn = commitLsn;
    // Asked once a transaction, so that rows need not be asked about in the long times without a snapshot.
    this.#older = this.#relations.some((relation) => this.#isOlder(relation));
  }

  /** The change is of before the table's snapshot. */
  passes(relation: Relation): boolean {
    return this.#older && this.#isOlder(relation);
  }

  /** Whether a message that could not be read is of before a snapshot that is being taken. */
  excuses(error: unknown): boolean {
    if (!(error instanceof WalhouseError) || error.table === null) return false;
    const relation = this.#relations.find(({ id }) => id === error.table);
    if (relation === undefined) return false;
    return this.#since(relation) === 'unsettled' || this.#isOlder(relation);
  }

  #isOlder(relation: Relation): boolean {
    const since = this.#since(relation);
    return since !== 'unsettled' && this.#commitLsn < since;
  }
}
