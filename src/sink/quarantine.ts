import { ABSENT, YOUNGER, type Tuple } from '../pipeline/tuple.js';
import { DURABLE } from './durability.js';
import { qualified, quoteString } from './identifier.js';
import type { Ownership } from './ownership.js';
import type { TablePlan } from './plan.js';
import { expiryOf, TTL_SETTINGS } from './retention.js';
import type { Server } from './server.js';

/** A row that could not be stored, as it goes into the quarantine table. */
export interface QuarantinedRow {
  readonly table: string;
  /** The key's columns as a JSON object of Postgres's texts. */
  readonly key: string;
  readonly version: string;
  readonly commit_lsn: string;
  /** The column whose value was refused. */
  readonly column: string;
  readonly reason: string;
  /** The whole row as a JSON object of Postgres's texts; columns that were not sent are left out. */
  readonly row: string;
  readonly committed_at: string;
  /** When its retention ends, as ClickHouse reads a DateTime64 in UTC. */
  readonly expires_at: string;
}

export const QUARANTINE_TABLE = '_walhouse_quarantine';
/** Added later; rows of before then have no retention of their own and go by a snapshot, a retry or a hand. */
const EXPIRES_AT = `expires_at DateTime64(6, 'UTC') default toDateTime64('2299-01-01 00:00:00', 6, 'UTC') comment 'When its retention ends'`;
/** What nobody may see any more counts as gone, whether it has been removed or not. */
export const IN_RETENTION = `expires_at > now64(6, 'UTC')`;
/** Another process may put rows back, so counts above zero are asked for again when they are this old. */
const COUNTS_STALE_MS = 1_000;

/** Rows that no ClickHouse type could hold exactly, raw and with their reason, until somebody has looked. */
export class Quarantine {
  readonly #server: Server;
  readonly #ownership: Ownership;
  readonly #table: string;
  #counts: ReadonlyMap<string, number> = new Map();
  #countedAtMs = 0;

  constructor(server: Server, landingDatabase: string, ownership: Ownership) {
    this.#server = server;
    this.#ownership = ownership;
    this.#table = qualified(landingDatabase, QUARANTINE_TABLE);
  }

  /** Rows by table, as of a moment ago: asking has them counted again in the background. */
  get counts(): ReadonlyMap<string, number> {
    if (Date.now() - this.#countedAtMs > COUNTS_STALE_MS) {
      // What keeps ClickHouse from answering is told by whoever stores rows.
      this.#count().catch(() => {});
    }
    return this.#counts;
  }

  /** One row per refused version: what is delivered again replaces itself. */
  async open(): Promise<void> {
    await this.#server.command(
      `create table if not exists ${this.#table} (
        table String comment 'The source table',
        key String comment 'The row''s key, a JSON object of Postgres''s texts',
        version UInt128 comment 'Commit position times 10^12 plus the step inside the transaction',
        commit_lsn String comment 'Where the transaction committed',
        column String comment 'The column whose value could not be held',
        reason String comment 'What its type was, and why it did not fit',
        row String comment 'The row as Postgres wrote it, a JSON object of texts',
        committed_at DateTime64(6, 'UTC') comment 'When Postgres committed the change',
        quarantined_at DateTime64(6, 'UTC') default now64(6, 'UTC') comment 'When it was put aside',
        ${EXPIRES_AT}
      ) engine = ReplacingMergeTree
      order by (table, version, key)
      ttl expires_at + toIntervalSecond(1)
      settings ${DURABLE}, ${TTL_SETTINGS}
      comment 'Rows that ClickHouse could not hold exactly'`,
      'creating the quarantine table',
    );
    await this.#server.define(
      `alter table ${this.#table} add column if not exists ${EXPIRES_AT}`,
      'adding to the quarantine table',
    );
    await this.#count();
  }

  async add(rows: readonly QuarantinedRow[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#server.insertRows(this.#table, rows, 'storing quarantined rows');
    await this.#count();
  }

  /** Forgets a table's rows, all or those of versions below one, since a snapshot brings them again. */
  async clear(id: string, belowVersion?: string): Promise<void> {
    if ((this.#counts.get(id) ?? 0) === 0) return;
    const below = belowVersion === undefined ? '' : ` and version < toUInt128(${quoteString(belowVersion)})`;
    await this.#ownership.deleting((still) =>
      this.#server.command(
        `alter table ${this.#table} delete where table = ${quoteString(id)}${below} and ${still}`,
        `clearing the quarantine of ${id}`,
        { mutations_sync: '1' },
      ),
    );
    await this.#count();
  }

  async #count(): Promise<void> {
    this.#countedAtMs = Date.now();
    const rows = await this.#server.rows<{ table: string; count: string }>(
      `select table, toString(count()) as count from ${this.#table} final where ${IN_RETENTION} group by table`,
      'counting quarantined rows',
    );
    this.#counts = new Map(rows.map((row) => [row.table, Number(row.count)]));
  }
}

/** The row with its reason, in words that say nothing of the value. */
export function quarantinedRow(
  plan: TablePlan,
  row: Tuple,
  old: Tuple | null,
  column: number,
  why: QuarantineReason,
  at: { version: string; commitLsn: string; committedAt: string },
): QuarantinedRow {
  return {
    table: plan.id,
    key: textOf(plan, row, old, plan.relation.key),
    version: at.version,
    commit_lsn: at.commitLsn,
    column: plan.columns[column]!.name,
    reason: reasonText(plan, column, why),
    row: textOf(
      plan,
      row,
      old,
      plan.columns.map((_, index) => index),
    ),
    committed_at: at.committedAt,
    expires_at: expiresAt(plan, row, old),
  };
}

/** By its date as it is or, where that was not sent, as it was; a row without retention never expires. */
function expiresAt(plan: TablePlan, row: Tuple, old: Tuple | null): string {
  const { retention } = plan;
  if (retention === null) return expiryOf({ count: 1, unit: 'day' }, null);
  const column = plan.columns.findIndex(({ name }) => name === retention.column);
  const printed = row.text(column) ?? (row.start[column] === ABSENT ? old?.text(column) : null);
  return expiryOf(retention.keep, printed);
}

export type QuarantineReason = 'value' | 'null' | 'missing';

export function reasonText(plan: TablePlan, column: number, why: QuarantineReason): string {
  const { type, notNull } = plan.relation.columns[column]!;
  const { base } = plan.columns[column]!.stored;
  return {
    value: `${type.text} value that ${base} cannot hold exactly`,
    null: notNull ? 'null where the table said not null' : `null, which ${base} cannot hold`,
    missing: 'unchanged value that was not sent, and no older version of the row has it',
  }[why];
}

/** Values that were not sent have not changed, so the old row's are the row's. */
function textOf(plan: TablePlan, row: Tuple, old: Tuple | null, columns: readonly number[]): string {
  const entries: [string, string | null][] = [];
  for (const index of columns) {
    const text = row.text(index) ?? otherwise(plan, row.start[index]!, old, index);
    if (text !== undefined) entries.push([plan.columns[index]!.name, text]);
  }
  return JSON.stringify(Object.fromEntries(entries));
}

function otherwise(
  plan: TablePlan,
  start: number,
  old: Tuple | null,
  index: number,
): string | null | undefined {
  if (start === YOUNGER) return plan.columns[index]!.missing?.text;
  return start === ABSENT ? old?.text(index) : null;
}
