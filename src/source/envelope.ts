import type { ChangeHandler } from '../pipeline/change.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { Since } from '../pipeline/source.js';
import { SinceGate } from './since-gate.js';

type Begun = Parameters<ChangeHandler['begin']>[0];

/**
 * The transaction that a decoder is in. Its handler is told of one only once a change of it counts, and of its end only where it was told of its
 * beginning: most transactions of a busy database touch no table that is followed.
 */
export class Envelope {
  readonly #handler: ChangeHandler;
  readonly #gate: SinceGate;
  readonly #failed: (reason: string) => Error;
  #open = false;
  #told = false;
  #begun: Begun = { commitLsn: 0n, committedAtUs: 0n, xid: 0 };

  /** `failed` makes the error of a message that cannot be. */
  constructor(
    relations: readonly Relation[],
    handler: ChangeHandler,
    since: Since | undefined,
    failed: (reason: string) => Error,
  ) {
    this.#handler = handler;
    this.#gate = new SinceGate(relations, since);
    this.#failed = failed;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Of the transaction that is open, or was open last. */
  get commitLsn(): Lsn {
    return this.#begun.commitLsn;
  }

  /** Whether a message that could not be read is of before a snapshot that is being taken. */
  excuses(error: unknown): boolean {
    return this.#gate.excuses(error);
  }

  begin(begun: Begun): void {
    if (this.#open) throw this.#failed('a transaction inside another');
    this.#begun = begun;
    this.#open = true;
    this.#told = false;
    this.#gate.begin(begun.commitLsn);
  }

  commit(commitLsn: Lsn, endLsn: Lsn): void {
    if (!this.#open) throw this.#failed('a commit without its begin');
    if (commitLsn !== this.#begun.commitLsn) throw this.#failed('a commit of another transaction');
    this.#open = false;
    if (this.#told) this.#handler.commit({ commitLsn, endLsn });
  }

  /** Whom to tell of a change that counts. */
  tell(): ChangeHandler {
    if (!this.#told) {
      if (!this.#open) throw this.#failed('a change outside a transaction');
      this.#told = true;
      this.#handler.begin(this.#begun);
    }
    return this.#handler;
  }

  /** A change that does not count keeps its place in the transaction: versions are the same on every delivery. */
  pass(): void {
    this.tell().passed?.();
  }

  /** Passes over a change of before its table's snapshot, and says whether it did. */
  passes(relation: Relation): boolean {
    if (!this.#gate.passes(relation)) return false;
    this.pass();
    return true;
  }
}
