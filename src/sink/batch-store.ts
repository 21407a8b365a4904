import { failpoint } from '../pipeline/failpoint.js';
import type { Span } from '../pipeline/tracer.js';
import { AUDIT_COLUMNS } from './audit.js';
import type { RowBatch, TableRows } from './batch.js';
import type { Copies } from './copies.js';
import { complete } from './incomplete.js';
import { hideBelow } from './landing.js';
import type { Quarantine } from './quarantine.js';
import type { Server } from './server.js';
import { versionColumns } from './version-rows.js';
import { endBelow } from './versions.js';

/** How many tables of one batch are inserted at once. */
const INSERTS_AT_ONCE = 2;

/** Stores batches in the copies of their tables. One that failed may be stored again: its rows replace themselves. */
export class BatchStore {
  readonly #server: Server;
  readonly #copies: Copies;
  readonly #quarantine: Quarantine;
  readonly #underWay = new Set<Promise<void>>();

  constructor(server: Server, copies: Copies, quarantine: Quarantine) {
    this.#server = server;
    this.#copies = copies;
    this.#quarantine = quarantine;
  }

  async store(batch: RowBatch, span: Span | null): Promise<void> {
    const storing = this.#store(batch, span);
    this.#underWay.add(storing);
    try {
      await storing;
    } finally {
      this.#underWay.delete(storing);
    }
  }

  /** Resolves when no batch is on its way any more that was begun before, stored or not. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #store(batch: RowBatch, span: Span | null): Promise<void> {
    span?.note({ 'walhouse.tables': Array.from(batch.tables, ({ plan }) => plan.id) });
    await this.#quarantine.add(batch.quarantined);
    const queue = [...batch.tables];
    let first = true;
    const workers = Array.from({ length: Math.min(INSERTS_AT_ONCE, queue.length) }, async () => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        await this.#storeTable(batch, table, span);
        if (first) failpoint('between_tables');
        first = false;
      }
    });
    const results = await Promise.allSettled(workers);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (batch.truncation !== null) await this.#truncate(batch.truncation);
    batch.release();
  }

  async #truncate({ plan, version, committedAt, xid }: NonNullable<RowBatch['truncation']>): Promise<void> {
    this.#copies.begins(plan.id);
    failpoint('before_truncate');
    for (const copy of this.#copies.historyOf(plan))
      await this.#server.longCommand(
        endBelow(copy, { version, committedAt, op: 't', xid }),
        `truncating the history of ${plan.id}`,
      );
    for (const copy of this.#copies.of(plan))
      await this.#server.longCommand(hideBelow(copy, version, committedAt), `truncating ${plan.id}`);
    this.#copies.stage(plan.id)?.truncated();
    // A row put back later must not outlive the truncate that it came before.
    await this.#quarantine.clear(plan.id, version);
  }

  async #storeTable(
    batch: RowBatch,
    { plan, out, incomplete, audit, versions }: TableRows,
    span: Span | null,
  ): Promise<void> {
    const stage = this.#copies.stage(plan.id);
    if (incomplete.length > 0) {
      if (stage !== undefined && !stage.live) stage.postpone(incomplete);
      else if (stage !== undefined || this.#copies.complete.has(plan.id)) {
        const from = out.at;
        const refused = await complete(plan, out, incomplete, this.#server);
        versions?.copyAll(out, from, 'u');
        batch.quarantined.push(...refused);
        await this.#quarantine.add(refused);
      }
      // From here on they are in the batch's own bytes, should it have to be stored again.
      incomplete.length = 0;
    }
    const doing = `storing rows of ${plan.id}`;
    if (audit !== null && audit.out.rows > 0)
      await this.#server.insert(plan.auditRows, AUDIT_COLUMNS, audit.out, doing, span);
    if (versions !== null && versions.out.rows > 0)
      for (const copy of this.#copies.historyOf(plan))
        await this.#server.insert(copy.versions, versionColumns(plan), versions.out, doing, span);
    if (out.rows === 0) return;
    for (const { landing } of this.#copies.of(plan))
      await this.#server.insert(landing, plan.insertColumns, out, doing, span);
  }
}
