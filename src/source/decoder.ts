import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { ABSENT, type Tuple } from '../pipeline/tuple.js';

/**
 * Turns one output plugin's messages into calls of a ChangeHandler. A decoder takes a message's bytes over: it un-escapes
 * in place, and the tuples it hands on point into them. Transactions without a change of a configured table make no call.
 * Whatever it does not understand is a `decode_failed`, or a `schema_changed` that names the table.
 */
export interface Decoder {
  /** A transaction has begun and its commit has not come. */
  readonly open: boolean;
  decode(message: Buffer): void;
  /** Whether an error about the transaction that is open may be passed over, since its table's snapshot has what the transaction did. */
  excuses(error: unknown): boolean;
}

export function decodeFailed(plugin: string, reason: string, at: number): WalhouseError {
  return new WalhouseError('decode_failed', {
    what: `a message of ${plugin} could not be read at byte ${at}: ${reason}.`,
    why: 'Going on would lose the change in it.',
    fix: 'report this with the versions of Postgres and the plugin; source.decoder may be set to the other one',
  });
}

export function schemaChanged(relation: Relation, difference: string): WalhouseError {
  return new WalhouseError('schema_changed', {
    what: `the columns of ${relation.id} are not those the catalog showed: ${difference}.`,
    why: 'Values could end up in the wrong column.',
    fix: `walhouse resync ${relation.id}`,
    table: relation.id,
  });
}

export function identityLost(relation: Relation): WalhouseError {
  const columns = relation.key.map((column) => relation.columns[column]!.name).join(', ');
  return new WalhouseError('table_no_identity', {
    what: `a change of ${relation.id} came without the old value of its key (${columns}).`,
    why: 'Without it the changed row cannot be told from others.',
    fix: `alter table ${relation.id} replica identity full, then walhouse resync ${relation.id}`,
    table: relation.id,
  });
}

/** Whether each key column is there. */
export function hasKey(relation: Relation, row: Tuple): boolean {
  for (const column of relation.key) if (row.start[column] === ABSENT) return false;
  return true;
}

/**
 * Settles an update's old image as ChangeHandler wants it: the full row under FULL, else the old key where it differs, else
 * null. A key value that was not sent again (it is stored out of line and did not change) is taken from the old key.
 */
export function oldImage(relation: Relation, old: Tuple, row: Tuple, full: boolean): Tuple | null {
  let changed = false;
  for (const column of relation.key) {
    if (row.start[column] === ABSENT) {
      row.start[column] = old.start[column]!;
      row.end[column] = old.end[column]!;
    } else if (!changed && !row.same(column, old)) changed = true;
  }
  return full || changed ? old : null;
}
