import { randomUUID } from 'node:crypto';
import type { Relation } from '../pipeline/relation.js';
import { snapshotVersion } from '../pipeline/version.js';
import type { Lsn } from '../pipeline/lsn.js';
import { qualified } from './identifier.js';
import { complete, type IncompleteRow } from './incomplete.js';
import { hideBelow, landingTable } from './landing.js';
import { NEXT_PREFIX } from './mart-stage.js';
import type { Databases } from './names.js';
import type { Ownership } from './ownership.js';
import { auditGap } from './audit.js';
import type { TablePlan } from './plan.js';
import type { Quarantine } from './quarantine.js';
import type { BufferPool } from './row-buffer.js';
import type { Server } from './server.js';
import { formatMicros } from './times.js';
import { carryOver, endUnread, nextVersionsName, now, versionsTable, withNextVersions } from './versions.js';

/** Rows that wait for values which the snapshot has yet to bring. */
const PENDING_MAX = 50_000;

/**
 * A table that is filled beside the one people read: `_walhouse_next_<table>` in the landing database. Its snapshot comes by COPY while
 * the stream fills it with the same versions as ever; which of them counts is decided by versions, so their order of arrival is not.
 * Nothing of it survives the process: who finds one at the start makes it again.
 */
export class Stage {
  readonly relation: Relation;
  /** As the readers' table will be. */
  readonly plan: TablePlan;
  /** The same, standing in the stage. */
  readonly staged: TablePlan;
  /** The readers' table takes the changes as well. */
  readonly live: boolean;
  /** All rows of the snapshot have been stored. */
  filled = false;
  spoilt = false;
  /** When its snapshot was taken, by our clock. */
  takenAt = now();
  pending: IncompleteRow[] = [];

  constructor(relation: Relation, plan: TablePlan, databases: Databases, live: boolean) {
    this.relation = relation;
    this.plan = plan;
    const staged = { ...plan, landing: qualified(databases.landing, nextName(plan)) };
    // A live table's history goes on; another one is put together anew from what it was.
    this.staged = live ? staged : withNextVersions(staged, databases);
    this.live = live;
  }

  async create(ownership: Ownership, { landing }: Databases): Promise<void> {
    const doing = `preparing a new copy of ${this.plan.id}`;
    await ownership.drop(landing, nextName(this.plan), doing);
    await ownership.make(
      this.staged.landing,
      (name, constraints) => landingTable({ ...this.staged, landing: name }, constraints),
      doing,
    );
    if (!this.plan.history || this.live) return;
    await ownership.drop(landing, nextVersionsName(this.plan), doing);
    await ownership.make(
      this.staged.versions,
      (name, constraints) => versionsTable({ ...this.staged, versions: name }, constraints),
      doing,
    );
  }

  /** Completes the history of the new copy: what was, and that rows which the snapshot has not are gone. */
  async settleHistory(server: Server, databases: Databases, consistentPoint: Lsn): Promise<void> {
    if (!this.plan.history || this.live) return;
    await carryOver(server, databases, this.plan);
    const doing = `finishing the history of ${this.plan.id}`;
    await server.longCommand(endUnread(this.staged, consistentPoint, this.takenAt), doing);
    await server.longCommand(auditGap(this.plan, consistentPoint, this.takenAt), doing);
  }

  /**
   * A truncate hides what is there, and what the snapshot brings later would escape it. (The table's lock makes this rare:
   * a truncate waits for a COPY that has begun.)
   */
  truncated(): void {
    if (!this.filled) this.spoilt = true;
  }

  /** Rows whose large values are not here yet wait until they are. */
  postpone(rows: readonly IncompleteRow[]): void {
    if (this.pending.length + rows.length > PENDING_MAX) {
      this.spoilt = true;
      this.pending = [];
      return;
    }
    this.pending.push(...rows);
  }

  /**
   * Stores the rows that waited; then hides those of before the snapshot that it does not have. The stream brought them while the
   * snapshot's position was not known, and what became of them was passed over once it was.
   */
  async settle(
    server: Server,
    pool: BufferPool,
    quarantine: Quarantine,
    consistentPoint: Lsn,
  ): Promise<void> {
    if (this.pending.length > 0) await this.#storePending(server, pool, quarantine);
    if (this.live) return;
    const hidden = hideBelow(
      this.staged,
      obsoleteBelow(consistentPoint),
      formatMicros(BigInt(Date.now()) * 1000n),
    );
    await server.longCommand(hidden, `finishing the new copy of ${this.plan.id}`);
  }

  async #storePending(server: Server, pool: BufferPool, quarantine: Quarantine): Promise<void> {
    const out = pool.take();
    const refused = await complete(this.staged, out, this.pending, server);
    const doing = `storing rows of ${this.plan.id}`;
    if (out.rows > 0) await server.insert(this.staged.landing, this.plan.insertColumns, out, doing);
    await quarantine.add(refused);
    this.pending = [];
    pool.give(out);
  }
}

/** What a table's stage is called in the landing database. */
export function nextName(plan: TablePlan): string {
  return `${NEXT_PREFIX}${plan.name}`;
}

const ASIDE_PREFIX = '_walhouse_shown_';

/** A name for what people read while tables change places; the table's own cannot be read in two forms at once. */
export function asideName(plan: Pick<TablePlan, 'name'>): string {
  return `${ASIDE_PREFIX}${randomUUID()}_${plan.name}`;
}

/** Which of these tables of the landing database are such of that table. */
export function asidesOf(names: readonly string[], plan: Pick<TablePlan, 'name'>): string[] {
  const length = asideName(plan).length;
  return names.filter(
    (name) => name.startsWith(ASIDE_PREFIX) && name.endsWith(`_${plan.name}`) && name.length === length,
  );
}

/** What a snapshot taken at `consistentPoint` makes obsolete has versions below this. */
export function obsoleteBelow(consistentPoint: Lsn): string {
  return snapshotVersion(consistentPoint).toString();
}
