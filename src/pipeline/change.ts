import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { Tuple } from './tuple.js';

/**
 * What a source tells of the changes it reads, in commit order. Every call is synchronous, so the order of
 * calls is the order of history; tuples are valid only during the call.
 *
 * Guarantees: `begin`, then the transaction's changes in the order they were made, then `commit`; transactions
 * in the order of their commits, whole, and never a rolled back one. After a reconnect, transactions that were not
 * confirmed come again, with the same commit positions and the same changes.
 */
export interface ChangeHandler {
  begin(transaction: TransactionStart): void;
  insert(relation: Relation, row: Tuple): void;
  /** `old` is the full old row (replica identity FULL), or its old key alone, or null where the key is unchanged. */
  update(relation: Relation, old: Tuple | null, row: Tuple): void;
  /** `old` has at least the key; other columns may be ABSENT. */
  delete(relation: Relation, old: Tuple): void;
  truncate(relations: readonly Relation[]): void;
  /** A change was passed over, because its table's snapshot has it. It keeps its place in the transaction. */
  passed?(): void;
  commit(transaction: TransactionEnd): void;
  /** Every commit that starts before `lsn` has been handed over. Comes between transactions only. */
  caughtUp(lsn: Lsn, sentAtMs: number): void;
}

export interface TransactionStart {
  /** Where the commit record starts. */
  readonly commitLsn: Lsn;
  /** Microseconds since 1970-01-01 UTC. */
  readonly committedAtUs: bigint;
  readonly xid: number;
}

export interface TransactionEnd {
  readonly commitLsn: Lsn;
  /** One past the commit record: what may be confirmed once the transaction is durable. */
  readonly endLsn: Lsn;
}
