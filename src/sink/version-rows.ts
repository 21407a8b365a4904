import { OP, XID } from './names.js';
import { quoteName } from './identifier.js';
import type { TablePlan } from './plan.js';
import type { RowBuffer } from './row-buffer.js';

/**
 * What happened to a row, as its history says it: `c`, `u`, `d`, `r`, `t` as in the audit trail; `q`: it went into quarantine, or came
 * out of it; `g`: it was no longer there when the table was read anew.
 */
export type VersionOp = 'c' | 'u' | 'd' | 'r' | 't' | 'q' | 'g';

/** Rows and tombstones of landing once more, each with what happened and in which transaction. */
export class VersionRows {
  readonly out: RowBuffer;

  constructor(out: RowBuffer) {
    this.out = out;
  }

  /** Copies what was written to `from` since `start`: one row, or nothing. */
  copy(from: RowBuffer, start: number, op: VersionOp, xid: number): void {
    if (from.at === start) return;
    const { out } = this;
    const end = from.at - 1;
    out.reserve(end - start + 16);
    out.at += from.bytes.copy(out.bytes, out.at, start, end);
    out.at += out.bytes.write(`\t${op}\t${xid}\n`, out.at, 'latin1');
    out.rows += 1;
  }

  /** The same for several rows, of which no transaction is known. */
  copyAll(from: RowBuffer, start: number, op: VersionOp): void {
    const lines = from.bytes.toString('latin1', start, from.at).split('\n').slice(0, -1);
    for (const line of lines) {
      this.out.reserve(line.length + 16);
      this.out.at += this.out.bytes.write(`${line}\t${op}\t0\n`, this.out.at, 'latin1');
      this.out.rows += 1;
    }
  }
}

/** In the order that `copy` writes. */
export function versionColumns(plan: TablePlan): string[] {
  return [...plan.insertColumns, quoteName(OP), quoteName(XID)];
}
