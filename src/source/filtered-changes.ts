import type { ChangeHandler, TransactionEnd, TransactionStart } from '../pipeline/change.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import { ABSENT, type Tuple } from '../pipeline/tuple.js';
import type { Evaluate } from './condition/evaluate.js';
import { UnknownForm } from './condition/evaluate.js';
import { decodeFailed, identityLost } from './decoder.js';
import { columnReader, type RowFilters } from './layout.js';

/**
 * Hands on what concerns rows that meet their table's condition: an update that moves a row in is an insert, out of it a delete. Every other
 * change is passed over and keeps its place in the transaction, so that versions do not depend on conditions.
 */
export class FilteredChanges implements ChangeHandler {
  readonly #handler: ChangeHandler;
  readonly #tests: ReadonlyMap<Relation, Test>;

  constructor(handler: ChangeHandler, filters: RowFilters) {
    this.#handler = handler;
    this.#tests = new Map([...filters].map(([relation, evaluate]) => [relation, testOf(relation, evaluate)]));
  }

  begin(transaction: TransactionStart): void {
    this.#handler.begin(transaction);
  }

  insert(relation: Relation, row: Tuple): void {
    const test = this.#tests.get(relation);
    if (test === undefined || test(row, null)) this.#handler.insert(relation, row);
    else this.passed();
  }

  update(relation: Relation, old: Tuple | null, row: Tuple): void {
    const test = this.#tests.get(relation);
    if (test === undefined) {
      this.#handler.update(relation, old, row);
      return;
    }
    // Its identity was another one for a while.
    if (old === null && relation.replicaIdentity === 'full') throw identityLost(relation);
    const is = test(row, old);
    // Without an old image the key is as it was, and a condition reads nothing else then.
    const was = old === null ? is : test(old, null);
    if (was && is) this.#handler.update(relation, old, row);
    else if (was) this.#handler.delete(relation, old!);
    else if (is) {
      complete(relation, row, old!);
      this.#handler.insert(relation, row);
    } else this.passed();
  }

  delete(relation: Relation, old: Tuple): void {
    const test = this.#tests.get(relation);
    if (test === undefined || test(old, null)) this.#handler.delete(relation, old);
    else this.passed();
  }

  truncate(relations: readonly Relation[]): void {
    this.#handler.truncate(relations);
  }

  passed(): void {
    this.#handler.passed?.();
  }

  commit(transaction: TransactionEnd): void {
    this.#handler.commit(transaction);
  }

  caughtUp(lsn: Lsn, sentAtMs: number): void {
    this.#handler.caughtUp(lsn, sentAtMs);
  }
}

type Test = (row: Tuple, old: Tuple | null) => boolean;

function testOf(relation: Relation, evaluate: Evaluate): Test {
  const read = columnReader(relation, () => identityLost(relation));
  return (row, old) => {
    try {
      return evaluate(read(row, old)) === 1;
    } catch (error) {
      if (error instanceof UnknownForm) throw decodeFailed(relation.id, error.message, 0);
      throw error;
    }
  };
}

/** Values that an update did not send again are the old row's; both point into the same message. */
function complete({ columns }: Relation, row: Tuple, old: Tuple): void {
  for (let column = 0; column < columns.length; column += 1) {
    if (row.start[column] !== ABSENT) continue;
    row.start[column] = old.start[column]!;
    row.end[column] = old.end[column]!;
  }
}
