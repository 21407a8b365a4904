import type { Client } from 'pg';
import type { Lsn } from '../../pipeline/lsn.js';
import { connect, destroy, parseTarget, quoteText } from '../../source/connection.js';
import { createSlot } from '../../source/slot.js';
import { sourceError } from '../../source/source-error.js';

let snapshots = 0;

/**
 * Postgres at one known position, in read-only transactions on connections of its own. The temporary slot whose creation exports the
 * snapshot is gone as soon as they have taken it over, so no WAL is held back while they read.
 */
export class PositionedSnapshot {
  /** Transactions whose commit starts before this are seen; all others are not. */
  readonly position: Lsn;
  readonly encoding: string;
  readonly connections: readonly Client[];

  private constructor(position: Lsn, encoding: string, connections: readonly Client[]) {
    this.position = position;
    this.encoding = encoding;
    this.connections = connections;
  }

  /** Waits for every transaction that is open now. Needs a free replication slot for a moment. `signal` ends the wait. */
  static async open(url: string, connections: number, signal?: AbortSignal): Promise<PositionedSnapshot> {
    const opened: Client[] = [];
    const giveUp = (): void => {
      for (const client of opened) destroy(client);
    };
    signal?.addEventListener('abort', giveUp, { once: true });
    try {
      const holder = await connect(url, 'replication');
      opened.push(holder);
      const facts = await holder.query<{ version: string; encoding: string }>(
        `select current_setting('server_version_num') as version, current_setting('server_encoding') as encoding`,
      );
      const { version, encoding } = facts.rows[0]!;
      snapshots += 1;
      const exported = await createSlot(holder, `walhouse_verify_${process.pid}_${snapshots}`, 'pgoutput', {
        temporary: true,
        failover: false,
        serverVersion: Number(version),
      });
      const readers: Client[] = [];
      for (let index = 0; index < connections; index += 1) {
        const reader = await connect(url, 'sql');
        opened.push(reader);
        readers.push(reader);
        // Rows that a policy hides would seem to be missing; and one connection is to be one process.
        await reader.query('set row_security = off; set max_parallel_workers_per_gather = 0; set jit = off');
        await reader.query('begin isolation level repeatable read read only');
        await reader.query(`set transaction snapshot ${quoteText(exported.snapshotName)}`);
      }
      destroy(holder);
      return new PositionedSnapshot(exported.consistentPoint, encoding, readers);
    } catch (error) {
      giveUp();
      signal?.throwIfAborted();
      throw sourceError(error, parseTarget(url), 'query');
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
  }

  close(): void {
    for (const client of this.connections) destroy(client);
  }
}
