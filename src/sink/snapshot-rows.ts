import { failpoint } from '../pipeline/failpoint.js';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import type { SnapshotWriter } from '../pipeline/sink.js';
import type { RetentionCut } from '../pipeline/source.js';
import type { Tuple } from '../pipeline/tuple.js';
import { snapshotVersion, STEPS_PER_COMMIT } from '../pipeline/version.js';
import { AUDIT_COLUMNS } from './audit.js';
import { AuditRows } from './audit-rows.js';
import { append } from './incomplete.js';
import type { TablePlan } from './plan.js';
import { quarantinedRow, type Quarantine, type QuarantinedRow } from './quarantine.js';
import type { RowBuffer } from './row-buffer.js';
import { type BufferPool } from './row-buffer.js';
import { Stamp, WRITTEN, writeRow } from './row-encoder.js';
import type { Server } from './server.js';
import { versionColumns, VersionRows } from './version-rows.js';

/** An insert goes when this much has gathered. */
const FLUSH_BYTES = 16 * 1024 * 1024;
const FLUSH_QUARANTINED = 1000;

/**
 * Rows of one table's snapshot. All bear the version just below the consistent point, at step 0 unless told otherwise. Several readers may
 * add at once; inserts go one after another.
 */
export class SnapshotRows implements SnapshotWriter {
  rows = 0;
  readonly cut: RetentionCut | undefined;
  readonly #plan: TablePlan;
  readonly #server: Server;
  readonly #quarantine: Quarantine;
  readonly #pool: BufferPool;
  readonly #stamp: Stamp;
  readonly #consistentPoint: Lsn;
  readonly #takenAt: string;
  readonly #step: number;
  #out: RowBuffer;
  #audit: AuditRows | null;
  #versions: VersionRows | null;
  readonly #recorded: boolean;
  #refused: QuarantinedRow[] = [];
  #flushing: Promise<void> = Promise.resolve();
  readonly #holes: number[] = [];

  constructor(parts: {
    plan: TablePlan;
    server: Server;
    quarantine: Quarantine;
    pool: BufferPool;
    consistentPoint: Lsn;
    /** As ClickHouse reads it. */
    takenAt: string;
    step?: number;
    cut?: RetentionCut | undefined;
    /** Whether the trail and the history, where the table has them, are told what was read. */
    recorded: boolean;
  }) {
    this.#plan = parts.plan;
    this.cut = parts.cut;
    this.#server = parts.server;
    this.#quarantine = parts.quarantine;
    this.#pool = parts.pool;
    this.#consistentPoint = parts.consistentPoint;
    this.#takenAt = parts.takenAt;
    this.#step = parts.step ?? 0;
    this.#stamp = new Stamp(snapshotVersion(parts.consistentPoint) / STEPS_PER_COMMIT, parts.takenAt);
    this.#recorded = parts.recorded && parts.plan.history;
    this.#out = this.#pool.take();
    this.#audit = this.#openAudit();
    this.#versions = this.#openVersions();
  }

  add(read: Tuple): void {
    const { mask } = this.#plan;
    const row = mask === null ? read : mask.row(read);
    this.#holes.length = 0;
    const from = this.#out.at;
    const result = writeRow(this.#plan, this.#out, row, null, this.#stamp, this.#step, this.#holes);
    if (result === WRITTEN) this.#versions?.copy(this.#out, from, 'r', 0);
    else this.#refuse(row, result, from);
    this.#audit?.add('r', null, row, this.#stamp, { commitLsn: this.#consistentPoint - 1n, xid: 0 }, 1);
    this.rows += 1;
  }

  /** A tombstone at step 0 over an image that landing or a mart holds: its fields as TabSeparated has them, one character a byte. */
  hide(fields: readonly string[]): void {
    const from = this.#out.at;
    append(this.#out, [...fields, this.#stamp.version(0), '1', this.#takenAt]);
    this.#versions?.copy(this.#out, from, 'r', 0);
  }

  get bytes(): number {
    return this.#out.length + (this.#audit?.out.at ?? 0) + (this.#versions?.out.at ?? 0);
  }

  async flush(force: boolean): Promise<void> {
    if (!force && this.bytes < FLUSH_BYTES && this.#refused.length < FLUSH_QUARANTINED) return;
    const out = this.#out;
    const audit = this.#audit;
    const versions = this.#versions;
    const refused = this.#refused;
    this.#out = this.#pool.take();
    this.#audit = this.#openAudit();
    this.#versions = this.#openVersions();
    this.#refused = [];
    const before = this.#flushing;
    const mine = before.then(() => this.#store(out, audit, versions, refused));
    // A failure is thrown at who flushed; whoever comes next must not run past it.
    this.#flushing = mine;
    mine.catch(() => {});
    await mine;
  }

  async #store(
    out: RowBuffer,
    audit: AuditRows | null,
    versions: VersionRows | null,
    refused: readonly QuarantinedRow[],
  ): Promise<void> {
    const doing = `storing the snapshot of ${this.#plan.id}`;
    if (audit !== null && audit.out.rows > 0)
      await this.#server.insert(this.#plan.auditRows, AUDIT_COLUMNS, audit.out, doing);
    if (versions !== null && versions.out.rows > 0)
      await this.#server.insert(this.#plan.versions, versionColumns(this.#plan), versions.out, doing);
    // Rows last: what is repaired looks different until its history has it, and is repaired again.
    failpoint('before_rows');
    if (out.rows > 0) await this.#server.insert(this.#plan.landing, this.#plan.insertColumns, out, doing);
    await this.#quarantine.add(refused);
    this.#pool.give(out);
    if (audit !== null) this.#pool.give(audit.out);
    if (versions !== null) this.#pool.give(versions.out);
  }

  #refuse(row: Tuple, result: number, from: number): void {
    const missing = result < 0;
    if (missing) {
      this.#out.at = from;
      this.#out.rows -= 1;
    }
    const column = missing ? this.#holes[0]! : result;
    const why = missing ? 'missing' : row.start[column]! < 0 ? 'null' : 'value';
    this.#refused.push(
      quarantinedRow(this.#plan, row, null, column, why, {
        version: this.#stamp.version(this.#step),
        commitLsn: formatLsn(this.#consistentPoint - 1n),
        committedAt: this.#takenAt,
      }),
    );
  }

  #openAudit(): AuditRows | null {
    return this.#recorded ? new AuditRows(this.#plan, this.#pool.take()) : null;
  }

  #openVersions(): VersionRows | null {
    return this.#recorded ? new VersionRows(this.#pool.take()) : null;
  }
}
