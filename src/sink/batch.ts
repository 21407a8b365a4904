import type { TransactionStart } from '../pipeline/change.js';
import { formatLsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { Batch } from '../pipeline/sink.js';
import { ABSENT, NULL, type Tuple } from '../pipeline/tuple.js';
import { AuditRows } from './audit-rows.js';
import { encodedKey, takeBack, type IncompleteRow } from './incomplete.js';
import { identityNotFull, type TablePlan } from './plan.js';
import { quarantinedRow, type QuarantinedRow } from './quarantine.js';
import type { BufferPool, RowBuffer } from './row-buffer.js';
import { INCOMPLETE, Stamp, WRITTEN, writeRow, writeTombstone } from './row-encoder.js';
import { formatMicros } from './times.js';
import { VersionRows, type VersionOp } from './version-rows.js';

/** One table's part of a batch. */
export interface TableRows {
  readonly plan: TablePlan;
  readonly out: RowBuffer;
  readonly incomplete: IncompleteRow[];
  readonly audit: AuditRows | null;
  readonly versions: VersionRows | null;
}

export interface Truncation {
  readonly plan: TablePlan;
  readonly version: string;
  readonly committedAt: string;
  readonly xid: number;
}

/**
 * Encodes changes as they come. A batch may be stored any number of times: all it holds is bytes with versions.
 *
 * An update whose tracked columns changed writes a tombstone with the old image, then the new row; any other
 * update writes one row.
 */
export class RowBatch implements Batch {
  rows = 0;
  sealed = false;
  readonly quarantined: QuarantinedRow[] = [];
  truncation: Truncation | null = null;
  readonly #plans: (relation: Relation) => TablePlan;
  readonly #pool: BufferPool;
  readonly #tables = new Map<TablePlan, TableRows>();
  #transaction: TransactionStart | null = null;
  #stamp = new Stamp(0n, '');
  #lastRelation: Relation | null = null;
  #lastTable: TableRows | null = null;
  #asideBytes = 0;
  readonly #holes: number[] = [];

  constructor(plans: (relation: Relation) => TablePlan, pool: BufferPool) {
    this.#plans = plans;
    this.#pool = pool;
  }

  get bytes(): number {
    let bytes = this.#asideBytes;
    for (const table of this.#tables.values())
      bytes += table.out.length + (table.audit?.out.at ?? 0) + (table.versions?.out.at ?? 0);
    return bytes;
  }

  get tables(): Iterable<TableRows> {
    return this.#tables.values();
  }

  begin(transaction: TransactionStart): void {
    this.#transaction = transaction;
    this.#stamp = new Stamp(transaction.commitLsn, formatMicros(transaction.committedAtUs));
  }

  insert(relation: Relation, row: Tuple, ordinal: number): void {
    const table = this.#table(relation);
    const written = table.plan.mask === null ? row : table.plan.mask.row(row);
    this.#write(table, written, null, ordinal, 'c');
    table.audit?.add('c', null, written, this.#stamp, this.#transaction!, ordinal * 2 + 1);
    this.rows += 1;
  }

  update(relation: Relation, before: Tuple | null, after: Tuple, ordinal: number): void {
    const table = this.#table(relation);
    const { plan } = table;
    const old = before === null || plan.mask === null ? before : plan.mask.old(before);
    const row = plan.mask === null ? after : plan.mask.row(after);
    if (plan.needsFull) requireWhole(plan, old);
    if (old !== null && isMoved(plan, old, row)) {
      this.#hide(table, old, ordinal * 2, 'u');
      this.rows += 1;
    }
    this.#write(table, row, old, ordinal, 'u');
    table.audit?.add('u', old, row, this.#stamp, this.#transaction!, ordinal * 2 + 1);
    this.rows += 1;
  }

  delete(relation: Relation, before: Tuple, ordinal: number): void {
    const table = this.#table(relation);
    const old = table.plan.mask === null ? before : table.plan.mask.old(before);
    if (table.plan.needsFull) requireWhole(table.plan, old);
    this.#hide(table, old, ordinal * 2 + 1, 'd');
    table.audit?.add('d', old, null, this.#stamp, this.#transaction!, ordinal * 2 + 1);
    this.rows += 1;
  }

  truncate(relation: Relation, ordinal: number): void {
    if (this.truncation !== null) throw new Error('a sealed batch takes no more changes');
    const table = this.#table(relation);
    this.truncation = {
      plan: table.plan,
      version: this.#stamp.version(ordinal * 2 + 1),
      committedAt: this.#stamp.committedAt.toString(),
      xid: this.#transaction!.xid,
    };
    table.audit?.add('t', null, null, this.#stamp, this.#transaction!, ordinal * 2 + 1);
    this.rows += 1;
    this.sealed = true;
  }

  /** Gives the buffers back; only after everything was stored. */
  release(): void {
    for (const table of this.#tables.values()) {
      this.#pool.give(table.out);
      if (table.audit !== null) this.#pool.give(table.audit.out);
      if (table.versions !== null) this.#pool.give(table.versions.out);
    }
    this.#tables.clear();
    this.#lastTable = null;
    this.#lastRelation = null;
  }

  #table(relation: Relation): TableRows {
    if (relation === this.#lastRelation) return this.#lastTable!;
    if (this.#transaction === null) throw new Error('a change came before its transaction');
    const plan = this.#plans(relation);
    let table = this.#tables.get(plan);
    if (table === undefined) {
      const audit = plan.history ? new AuditRows(plan, this.#pool.take()) : null;
      const versions = plan.history ? new VersionRows(this.#pool.take()) : null;
      table = { plan, out: this.#pool.take(), incomplete: [], audit, versions };
      this.#tables.set(plan, table);
    }
    this.#lastRelation = relation;
    this.#lastTable = table;
    return table;
  }

  /** Writes a tombstone; whether there was anything to hide. */
  #hide({ plan, out, versions }: TableRows, image: Tuple, step: number, op: VersionOp): boolean {
    const from = out.at;
    const written = writeTombstone(plan, out, image, this.#stamp, step);
    versions?.copy(out, from, op, this.#transaction!.xid);
    return written;
  }

  #write(table: TableRows, row: Tuple, old: Tuple | null, ordinal: number, op: 'c' | 'u'): void {
    const { plan, out } = table;
    const from = out.at;
    const step = ordinal * 2 + 1;
    const holes = this.#holes;
    holes.length = 0;
    const result = writeRow(plan, out, row, old, this.#stamp, step, holes);
    if (result === WRITTEN) {
      table.versions?.copy(out, from, op, this.#transaction!.xid);
      return;
    }
    if (result === INCOMPLETE) {
      this.#asideBytes += 4 * (out.at - from);
      const fields = takeBack(out, from);
      const otherwise = this.#refused(plan, row, old, holes[0]!, 'missing', step);
      const lookup = encodedKey(plan, hasKey(plan, old) ? old : row);
      if (lookup === null) this.#quarantine(table, otherwise, row, old, step);
      else {
        const version = BigInt(this.#stamp.version(step));
        table.incomplete.push({ fields, holes: [...holes], lookup, version, otherwise });
      }
      return;
    }
    const why = row.start[result]! < 0 ? 'null' : 'value';
    this.#quarantine(table, this.#refused(plan, row, old, result, why, step), row, old, step);
  }

  /** Puts a row aside, and hides the version it replaces: that one is not current any more. */
  #quarantine(table: TableRows, refused: QuarantinedRow, row: Tuple, old: Tuple | null, step: number): void {
    this.quarantined.push(refused);
    this.#asideBytes += refused.row.length + refused.key.length;
    const image = hasKey(table.plan, old) ? old : row;
    if (this.#hide(table, image, step, 'q')) this.rows += 1;
  }

  #refused(
    plan: TablePlan,
    row: Tuple,
    old: Tuple | null,
    column: number,
    why: 'value' | 'null' | 'missing',
    step: number,
  ): QuarantinedRow {
    return quarantinedRow(plan, row, old, column, why, {
      version: this.#stamp.version(step),
      commitLsn: formatLsn(this.#transaction!.commitLsn),
      committedAt: this.#stamp.committedAt.toString(),
    });
  }
}

/** Whether a tracked column has another value than before. One that was not sent has not changed. */
function isMoved(plan: TablePlan, old: Tuple, row: Tuple): boolean {
  const { tracked } = plan;
  for (let i = 0; i < tracked.length; i += 1) {
    const column = tracked[i]!;
    if (row.start[column]! >= NULL && old.start[column]! >= NULL && !row.same(column, old)) return true;
  }
  return false;
}

function hasKey(plan: TablePlan, old: Tuple | null): old is Tuple {
  return old !== null && plan.relation.key.every((column) => old.start[column]! >= 0);
}

/** The old row must be there with what is tracked; it is not when the replica identity was changed under way. */
function requireWhole(plan: TablePlan, old: Tuple | null): void {
  if (old !== null && plan.tracked.every((column) => old.start[column] !== ABSENT)) return;
  throw identityNotFull(plan.relation, 'a change of it came without the whole old row');
}
