import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { NULL, type Tuple, tupleOf } from '../pipeline/tuple.js';
import { STEPS_PER_COMMIT } from '../pipeline/version.js';
import { qualified, quoteString } from './identifier.js';
import type { Masker } from './mask.js';
import { encodedKey, readLanding, takeBack, type Candidate } from './incomplete.js';
import { databasesFor, tableName } from './names.js';
import { planTable, type TablePlan } from './plan.js';
import { IN_RETENTION, QUARANTINE_TABLE, reasonText, type QuarantineReason } from './quarantine.js';
import { hasQuarantine } from './quarantine-list.js';
import { RowBuffer } from './row-buffer.js';
import { Stamp, WRITTEN, writeRow } from './row-encoder.js';
import { Server } from './server.js';
import type { SinkTable } from './plans.js';

export interface RetryOptions {
  readonly client: ClickHouseClient;
  readonly database: string;
  /** The source table as the catalog describes it now. */
  readonly relation: Relation;
  readonly table: SinkTable;
  /** Must be there where a column is masked. */
  readonly masker?: Masker | undefined;
}

export interface RetryReport {
  readonly table: string;
  /** Rows that ClickHouse has now. */
  readonly put_back: number;
  /** Rows that a later version of their key has replaced meanwhile: nothing of them would be seen, so they were taken out. */
  readonly superseded: number;
  readonly left: number;
  /** Why rows were left, by column. */
  readonly reasons: readonly { readonly column: string; readonly reason: string; readonly count: number }[];
}

interface StoredRow {
  /** Tells rows of one version apart without their values standing in a statement. */
  readonly id: string;
  readonly key: string;
  readonly version: string;
  readonly column: string;
  readonly reason: string;
  readonly row: string;
  readonly committed_at: string;
}

/** How many rows are held at once. */
const PAGE_ROWS = 500;

/**
 * Puts the rows of one table back whose values its ClickHouse types can hold by now, in the order of their versions.
 *
 * A row gets the step after its own: its own is taken by the tombstone that hides the version before it, and the next
 * belongs to another change, which under the same key would be a later version and win. Rows that a later version has replaced are
 * not stored, so nothing appears under a sort key where no tombstone was written for it. Values go in before the entry
 * goes out, and a second run finds the row as its own later version; so it may be cut off anywhere.
 *
 * The service may run meanwhile: what it stores is later and wins. Rejects with `schema_changed` where the table in ClickHouse is not
 * made for the source's columns of today.
 */
export async function retryQuarantined(options: RetryOptions): Promise<RetryReport> {
  const { relation, table } = options;
  const databases = databasesFor(options.database);
  const server = new Server(options.client);
  const plan = planTable(relation, {
    databases,
    name: tableName(relation.schema, relation.name),
    retention: table.retention ?? null,
    history: table.history,
    martColumns: [],
    columns: table.columns,
    mask: table.mask,
    masker: options.masker,
  });
  const run = new Retry(plan, server, databases.landing);
  if (!(await hasQuarantine(server, databases.landing))) return run.report;
  await refuseOtherTypes(plan, server, databases.landing);
  await run.all();
  return run.report;
}

class Retry {
  readonly #plan: TablePlan;
  readonly #server: Server;
  readonly #quarantine: string;
  readonly #reasons = new Map<string, { column: string; reason: string; count: number }>();
  /** Versions of this run, by encoded key: later ones may lack values that they have. */
  readonly #images = new Map<string, Candidate>();
  #putBack = 0;
  #superseded = 0;

  constructor(plan: TablePlan, server: Server, landingDatabase: string) {
    this.#plan = plan;
    this.#server = server;
    this.#quarantine = qualified(landingDatabase, QUARANTINE_TABLE);
  }

  get report(): RetryReport {
    const reasons = [...this.#reasons.values()];
    return {
      table: this.#plan.id,
      put_back: this.#putBack,
      superseded: this.#superseded,
      left: reasons.reduce((sum, { count }) => sum + count, 0),
      reasons,
    };
  }

  async all(): Promise<void> {
    let after = { version: '0', key: '' };
    for (;;) {
      const page = await this.#page(after);
      if (page.length === 0) return;
      await this.#retryPage(page);
      const last = page.at(-1)!;
      after = { version: last.version, key: last.key };
      if (page.length < PAGE_ROWS) return;
    }
  }

  #page(after: { version: string; key: string }): Promise<StoredRow[]> {
    return this.#server.rows<StoredRow>(
      `select hex(sipHash128(key)) as id, key, toString(version) as version, column, reason, row,
              toString(committed_at) as committed_at
         from ${this.#quarantine} as q final
        where q.table = {table:String} and q.${IN_RETENTION} and (q.version, q.key) > (toUInt128({version:String}), {key:String})
        order by q.version, q.key limit ${PAGE_ROWS}`,
      'reading the quarantine',
      { table: this.#plan.id, ...after },
    );
  }

  async #retryPage(page: readonly StoredRow[]): Promise<void> {
    const plan = this.#plan;
    const rows = page.map((stored) => ({ stored, tuple: rowOf(plan, stored.row) }));
    const keys = rows.map(({ tuple }) => encodedKey(plan, tuple));
    const landing = await readLanding(plan, [...new Set(keys.filter((key) => key !== null))], this.#server);
    const out = new RowBuffer(Buffer.allocUnsafeSlow(64 * 1024));
    const done: StoredRow[] = [];
    rows.forEach(({ stored, tuple }, index) => {
      const key = keys[index]!;
      const sortColumn = plan.columns.find(({ name, sorts }) => sorts && name === stored.column);
      if (key === null || sortColumn !== undefined) {
        // Deletes of it could not be written either, so nothing here says whether it is still there.
        this.#leave(
          stored.column,
          `${stored.reason}; it is part of the sort key, so only a new copy of the table can tell what became of the row: walhouse resync ${plan.id}`,
        );
        return;
      }
      const known = landing.get(key) ?? [];
      const version = BigInt(stored.version);
      const isSuperseded = known.some((candidate) => candidate.version > version);
      const failure = this.#encode(out, stored, tuple, key, known, isSuperseded);
      if (failure !== null && !isSuperseded) {
        this.#leave(plan.columns[failure.column]!.name, reasonText(plan, failure.column, failure.why));
        return;
      }
      done.push(stored);
      if (isSuperseded) this.#superseded += 1;
      else this.#putBack += 1;
    });
    if (out.rows > 0) {
      await this.#server.insert(plan.landing, plan.insertColumns, out, `putting rows of ${plan.id} back`);
      if (plan.history)
        await this.#server.insert(
          plan.versions,
          plan.insertColumns,
          out,
          `putting rows of ${plan.id} back into its history`,
        );
    }
    await this.#remove(done);
  }

  /** Writes the row unless it is superseded, and remembers it for later versions; what it fails at, if it does. */
  #encode(
    out: RowBuffer,
    stored: StoredRow,
    tuple: Tuple,
    key: string,
    known: readonly Candidate[],
    isSuperseded: boolean,
  ): { column: number; why: QuarantineReason } | null {
    const plan = this.#plan;
    const version = BigInt(stored.version);
    const from = out.at;
    const holes: number[] = [];
    const stamp = new Stamp(version / STEPS_PER_COMMIT, stored.committed_at);
    const step = Number(version % STEPS_PER_COMMIT) + 1;
    const result = writeRow(plan, out, tuple, null, stamp, step, holes);
    if (result >= 0) return { column: result, why: tuple.start[result] === NULL ? 'null' : 'value' };
    const fields = takeBack(out, from);
    if (result !== WRITTEN) {
      const older = newestBelow(version, known, this.#images.get(key));
      if (older === null) return { column: holes[0]!, why: 'missing' };
      for (const hole of holes) fields[hole] = older.fields[hole]!;
    }
    this.#images.set(key, { fields, version, isDeleted: false });
    if (!isSuperseded) {
      const line = Buffer.from(`${fields.join('\t')}\n`, 'latin1');
      out.reserve(line.length);
      line.copy(out.bytes, out.at);
      out.at += line.length;
      out.rows += 1;
    }
    return null;
  }

  #leave(column: string, reason: string): void {
    const id = JSON.stringify([column, reason]);
    const before = this.#reasons.get(id);
    if (before === undefined) this.#reasons.set(id, { column, reason, count: 1 });
    else before.count += 1;
  }

  async #remove(rows: readonly StoredRow[]): Promise<void> {
    if (rows.length === 0) return;
    const list = rows.map(({ version, id }) => `(toUInt128('${version}'), '${id}')`).join(', ');
    await this.#server.command(
      `alter table ${this.#quarantine} delete
        where table = ${quoteString(this.#plan.id)} and (version, hex(sipHash128(key))) in (${list})`,
      `taking rows of ${this.#plan.id} out of quarantine`,
      { mutations_sync: '1' },
    );
  }
}

function newestBelow(
  version: bigint,
  known: readonly Candidate[],
  image: Candidate | undefined,
): Candidate | null {
  let newest: Candidate | null = null;
  for (const candidate of image === undefined ? known : [...known, image]) {
    if (candidate.version >= version) continue;
    // The run's own image stands for the tombstone that was written in its place.
    if (newest === null || candidate.version > newest.version || candidate === image) newest = candidate;
  }
  return newest === null || newest.isDeleted ? null : newest;
}

/** The row as the source sent it, masked as it was then. */
function rowOf(plan: TablePlan, json: string): Tuple {
  const texts = new Map(Object.entries(JSON.parse(json) as Record<string, string | null>));
  return tupleOf(plan.columns.map(({ name }) => texts.get(name)));
}

/** What the encoder writes must be what the table takes: it may have been made for other columns. */
async function refuseOtherTypes(plan: TablePlan, server: Server, landing: string): Promise<void> {
  const doing = `reading the columns of ${plan.id}`;
  const rows = await server.rows<{ name: string; type: string }>(
    'select name, type from system.columns where database = {landing:String} and table = {name:String}',
    doing,
    { landing, name: plan.name },
  );
  const there = new Map(rows.map(({ name, type }) => [name, type]));
  // As ClickHouse itself writes the types that were asked for.
  const asked = plan.columns.map(
    ({ stored }, i) => `toTypeName(defaultValueOfTypeName(${quoteString(stored.type)})) as t${i}`,
  );
  const [types = {}] = await server.rows<Record<string, string>>(`select ${asked.join(', ')}`, doing);
  const other = plan.columns.find(({ name }, i) => there.get(name) !== types[`t${i}`]);
  if (other === undefined) return;
  throw new WalhouseError('schema_changed', {
    what:
      there.size === 0
        ? `${plan.id} has no table in ClickHouse.`
        : `column "${other.name}" of ${plan.id} is ${there.get(other.name) ?? 'not there'} in ClickHouse, and would now be ${other.stored.type}.`,
    why: 'Rows can only be put back into the table that they are encoded for.',
    fix: `let walhouse run copy the table anew, which brings its rows out of quarantine by itself; or walhouse resync ${plan.id}`,
  });
}
