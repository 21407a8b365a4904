import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../../pipeline/errors.js';
import { formatLsn, lsnFrom, type Lsn } from '../../pipeline/lsn.js';
import type { Relation } from '../../pipeline/relation.js';
import { versionBound } from '../../pipeline/version.js';
import type { MaskedColumns, Masker } from '../../sink/mask.js';
import type { TablesStanding } from './applied.js';
import type { ComparedRetention } from '../compare/retention-cut.js';
import { Buckets, bucketCount } from './buckets.js';
import { comparedTable, isSame, type ComparedTable } from './compared-table.js';
import { Findings } from './findings.js';
import { type Load, Pace } from './load.js';
import { quarantinedKeys } from './quarantined.js';
import { Reader } from './reader.js';
import type { TableReport } from './report.js';
import { takeRetentionEdge } from './retention-edge.js';
import { extentOf, scan, type Piece } from './scan.js';
import { addPostgresSums, readClickHouseRows, readClickHouseSums, readPostgresRows } from './sides.js';
import { PositionedSnapshot } from './snapshot.js';
import { type KeyTexts, Statements } from './statements.js';

/** After the first pass over everything, how often keys that had changed meanwhile are looked at again. */
const PASSES_MAX = 6;
/** Keys that may have changed between a position and the moment ClickHouse is read; more begin again. */
const CHANGED_MAX = 200_000;
/** How many copies of the table may come between a position and its comparison, one after another. */
const COPIES_MAX = 3;
const KEYS_EACH = 1_000;
/** Rows of either side held at once while they are set against each other. */
const ROWS_HELD_MAX = 100_000;
/** How many times so many; past that too much differs for a list of keys to help. */
const GROUPS_MAX = 5;
const IN_FLUX_SAMPLES_MAX = 20;

export interface VerifyTableOptions {
  readonly sourceUrl: string;
  readonly clickhouse: ClickHouseClient;
  readonly database: string;
  readonly relation: Relation;
  readonly retention?: ComparedRetention | undefined;
  /** Compares what ClickHouse has although it was made from a table that looked otherwise; else throws `MadeFromOther`. */
  readonly evenOther: boolean;
  /** Left out where no column is masked. */
  readonly masked?: MaskedColumns | undefined;
  readonly load: Load;
  /** Resolves once ClickHouse holds everything before a position. */
  readonly applied: (position: Lsn) => Promise<TablesStanding>;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
  /** Gives it up: the source's connections are closed at once. */
  readonly signal?: AbortSignal | undefined;
}

export interface VerifiedTable {
  readonly report: TableReport;
  /** The keys of all rows that are missing, extra or different; null when they are too many to be named. */
  readonly keys: readonly KeyTexts[] | null;
}

export interface VerifyProgress {
  readonly table: string;
  /**
   * `waiting` for the position, `reading` everything, `descending` into buckets that differ, `following` keys that changed; `repairing` rows,
   * `copying` the table anew.
   */
  readonly step: 'waiting' | 'reading' | 'descending' | 'following' | 'repairing' | 'copying';
  /** 0 to 1. */
  readonly done: number;
  readonly secondsLeft: number | null;
}

/** Which of several scans of one step it is, and when the first began. */
interface Part {
  readonly index: number;
  readonly count: number;
  readonly startedAt: number;
}

interface Pass {
  readonly snapshot: PositionedSnapshot;
  readonly readers: readonly Reader[];
  readonly statements: Statements;
  readonly buckets: number;
  /** The table in Postgres. */
  readonly from: string;
  readonly pieces: readonly Piece[];
}

/**
 * Compares a table with its landing table while both are written to.
 *
 * Postgres is held at a position C by a snapshot; ClickHouse is read once it has applied C. Landing keeps only the newest version of a
 * row, so rows changed after C are left out on both sides and compared by key at a later position. What is left must be equal at C.
 */
export async function verifyTable(options: VerifyTableOptions): Promise<VerifiedTable> {
  return new TableVerification(options).run();
}

class TableVerification {
  readonly #options: VerifyTableOptions;
  readonly #startedAt = performance.now();
  #findings = new Findings(() => false);
  #sourceMs = 0;
  #rowsByKey = 0;
  #passes = 0;
  #complete = true;
  #rowsPostgres = 0;
  #rowsClickHouse = 0;
  #position: Lsn | null = null;
  /** As the first pass found it. */
  #table: ComparedTable | null = null;
  /** How many columns are masked. */
  #masked = 0;

  constructor(options: VerifyTableOptions) {
    this.#options = options;
  }

  async run(): Promise<VerifiedTable> {
    let pending = await this.#pass((pass) => this.#compareAll(pass));
    while (pending.length > 0 && this.#passes < PASSES_MAX) {
      const keys = pending;
      pending = await this.#pass((pass) => this.#compareKeys(pass, keys));
    }
    const { keys } = this.#findings;
    return { report: this.#report(this.#table!, pending), keys: this.#complete ? keys : null };
  }

  /**
   * Takes a position, waits for ClickHouse to come to it, and compares there. A copy that was taken after the position has no trace of
   * rows that were deleted in between, so it takes another position then.
   */
  async #pass<T>(compare: (pass: Pass) => Promise<T>): Promise<T> {
    for (let attempt = 1; attempt <= COPIES_MAX; attempt += 1) {
      const compared = await this.#passAt(compare);
      if (compared !== null) return compared.result;
    }
    throw copiedAnew(this.#options.relation);
  }

  /** Null where the table was copied after the position. */
  async #passAt<T>(compare: (pass: Pass) => Promise<T>): Promise<{ readonly result: T } | null> {
    const { sourceUrl, clickhouse, relation, load, retention, signal } = this.#options;
    signal?.throwIfAborted();
    this.#passes += 1;
    this.#tell('waiting', 0, null);
    const connections = this.#passes === 1 ? load.connections : 1;
    const snapshot = await PositionedSnapshot.open(sourceUrl, connections, signal);
    try {
      const { table: from, pieces, rows } = await extentOf(snapshot.connections[0]!, relation);
      const readers = snapshot.connections.map((client) => new Reader(client, new Pace(load), signal));
      const edge = retention === undefined ? null : await takeRetentionEdge(clickhouse, retention);
      const buckets = bucketCount(rows);
      const { position, encoding } = snapshot;
      refuseIncomplete(relation.id, await this.#options.applied(position));
      const table = await this.#read();
      if (table.copiedAt > position) return null;
      await this.#hold(table);
      this.#position ??= position;
      const statements = new Statements({ table, buckets, edge, position, encoding });
      const result = await compare({ snapshot, readers, statements, buckets, from, pieces });
      for (const reader of readers) this.#sourceMs += reader.busyMs;
      if (edge?.isPassed() === true) throw tooSlow(relation);
      const after = await this.#read();
      if (after.copiedAt > position || !isSame(table, after)) throw copiedAnew(relation);
      return { result };
    } finally {
      snapshot.close();
    }
  }

  /** What ClickHouse has. */
  #read(): Promise<ComparedTable> {
    const { clickhouse, database, relation, masked } = this.#options;
    return comparedTable(clickhouse, database, relation, masked ?? null);
  }

  /** What is compared must not change from the first pass on. */
  async #hold(table: ComparedTable): Promise<void> {
    const { clickhouse, relation, evenOther } = this.#options;
    if (this.#table === null) {
      if (table.isOther && !evenOther) throw new MadeFromOther(relation);
      this.#table = table;
      this.#masked = table.checked.filter((column) => column.masked).length;
      const quarantined = await quarantinedKeys(clickhouse, table);
      this.#findings = new Findings((texts) => quarantined.has(JSON.stringify(texts)));
    } else if (!isSame(this.#table, table)) throw copiedAnew(relation);
  }

  async #compareAll(pass: Pass): Promise<KeyTexts[]> {
    const { clickhouse, relation } = this.#options;
    const { readers, statements, pieces } = pass;
    const theirs = new Buckets(pass.buckets);
    const ours = new Buckets(pass.buckets);
    // Both at once, so that the snapshot is held no longer than the slower side takes. ClickHouse is asked first: the sooner it is read
    // after the position, the less has changed since.
    const reading = readClickHouseSums(clickhouse, statements.clickHouseSums(CHANGED_MAX), theirs).then(
      (keys) => {
        if (keys.length > CHANGED_MAX) throw tooMuchChanged(relation);
        return keys;
      },
    );
    const whole = { index: 0, count: 1, startedAt: performance.now() };
    const scanning = this.#scan('reading', whole, readers, pieces, (reader, piece) =>
      addPostgresSums(reader, statements.postgresSums(piece.from, piece.where), [], this.#masker, (...sum) =>
        ours.add(...sum),
      ),
    );
    const [changed] = await Promise.all([reading, scanning]);
    this.#rowsClickHouse = theirs.rows + changed.length;
    this.#rowsPostgres = ours.rows;
    await this.#takeAway(pass, changed, ours);

    const pending = new Map(changed.map((texts) => [JSON.stringify(texts), texts]));
    const groups = ours.differing(theirs, ROWS_HELD_MAX);
    this.#complete = groups.length <= GROUPS_MAX;
    const part = { index: 0, count: Math.min(groups.length, GROUPS_MAX), startedAt: performance.now() };
    for (const buckets of groups.slice(0, GROUPS_MAX)) {
      for (const texts of await this.#descend(pass, buckets, part)) pending.set(JSON.stringify(texts), texts);
      part.index += 1;
    }
    return [...pending.values()];
  }

  /** What changed since the position is in Postgres's sums and not in ClickHouse's. */
  async #takeAway(pass: Pass, keys: readonly KeyTexts[], ours: Buckets): Promise<void> {
    const reader = pass.readers[0]!;
    const { from, where } = pass.statements.postgresByKeys(pass.from);
    const statement = pass.statements.postgresSums(from, where);
    for (const some of inGroups(keys, KEYS_EACH)) {
      await addPostgresSums(reader, statement, columnsOf(some), this.#masker, (...sum) =>
        ours.takeAway(...sum),
      );
    }
  }

  /** Sets the rows of some buckets against each other. */
  async #descend(pass: Pass, buckets: readonly number[], part: Part): Promise<KeyTexts[]> {
    const { clickhouse } = this.#options;
    const { snapshot, readers, statements, pieces } = pass;
    const { rows, changed } = await readClickHouseRows(clickhouse, statements.clickHouseRows({ buckets }));
    const impossibleFrom = await this.#impossibleFrom(snapshot);
    const postgres: Awaited<ReturnType<typeof readPostgresRows>> = [];
    await this.#scan('descending', part, readers, pieces, async (reader, piece) => {
      const statement = statements.postgresRows(piece.from, piece.where, true);
      for (const row of await readPostgresRows(reader, statement, [buckets], this.#masker, this.#masked))
        postgres.push(row);
    });
    this.#rowsByKey += rows.length + postgres.length;
    return [...this.#findings.settle({ postgres, clickHouse: rows, changed, impossibleFrom }).values()];
  }

  async #compareKeys(pass: Pass, keys: readonly KeyTexts[]): Promise<KeyTexts[]> {
    const { snapshot, statements } = pass;
    const { from, where } = statements.postgresByKeys(pass.from);
    const pending: KeyTexts[] = [];
    let done = 0;
    for (const some of inGroups(keys, KEYS_EACH)) {
      this.#tell('following', done / keys.length, null);
      const { rows, changed } = await readClickHouseRows(
        this.#options.clickhouse,
        statements.clickHouseRows({ keys: some }),
      );
      const impossibleFrom = await this.#impossibleFrom(snapshot);
      const postgres = await readPostgresRows(
        pass.readers[0]!,
        statements.postgresRows(from, where, false),
        columnsOf(some),
        this.#masker,
        this.#masked,
      );
      this.#rowsByKey += rows.length + postgres.length;
      pending.push(
        ...this.#findings.settle({ postgres, clickHouse: rows, changed, impossibleFrom }).values(),
      );
      done += some.length;
    }
    return pending;
  }

  get #masker(): Masker | null {
    return this.#masked === 0 ? null : this.#options.masked!.masker;
  }

  /** Read after ClickHouse was: whatever it holds of the source was committed before this. */
  async #impossibleFrom(snapshot: PositionedSnapshot): Promise<bigint> {
    const { rows } = await snapshot.connections[0]!.query<{ lsn: string }>(
      `select (case when pg_is_in_recovery() then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                    else pg_current_wal_insert_lsn() end)::text as lsn`,
    );
    return versionBound(lsnFrom(rows[0]!.lsn));
  }

  async #scan(
    step: 'reading' | 'descending',
    { index, count, startedAt }: Part,
    readers: readonly Reader[],
    pieces: readonly Piece[],
    work: (reader: Reader, piece: Piece) => Promise<void>,
  ): Promise<void> {
    const all = pieces.reduce((sum, { pages }) => sum + pages, 0);
    let done = 0;
    if (index === 0) this.#tell(step, 0, null);
    await scan(readers, pieces, work, (piece) => {
      done += piece.pages;
      const share = (index + done / all) / count;
      this.#tell(step, share, ((performance.now() - startedAt) / 1_000) * (1 / share - 1));
    });
  }

  #tell(step: VerifyProgress['step'], done: number, secondsLeft: number | null): void {
    this.#options.onProgress?.({ table: this.#options.relation.id, step, done, secondsLeft });
  }

  #report(table: ComparedTable, inFlux: readonly KeyTexts[]): TableReport {
    const { missing, extra, different, quarantined, samples, differentColumns } = this.#findings;
    const { columns } = table;
    const drift = missing + extra + different + columns.missing.length + columns.extra.length;
    return {
      table: table.relation.id,
      verdict:
        drift > 0 || !this.#complete
          ? 'different'
          : quarantined > 0
            ? 'quarantined'
            : columns.unchecked.length > 0
              ? 'unchecked'
              : 'equal',
      position: this.#position === null ? null : formatLsn(this.#position),
      rows_postgres: this.#rowsPostgres,
      rows_clickhouse: this.#rowsClickHouse,
      missing,
      extra,
      different,
      different_columns: Object.fromEntries(
        [...differentColumns].map(([place, count]) => [table.checked[place]!.column.name, count]),
      ),
      columns,
      samples: { ...samples, in_flux: inFlux.slice(0, IN_FLUX_SAMPLES_MAX) },
      in_flux: inFlux.length,
      quarantined,
      complete: this.#complete,
      passes: this.#passes,
      rows_by_key: this.#rowsByKey,
      source_seconds: seconds(this.#sourceMs),
      seconds: seconds(performance.now() - this.#startedAt),
      error: null,
    };
  }
}

/** One list of texts for each column of the key. */
function columnsOf(keys: readonly KeyTexts[]): string[][] {
  return (keys[0] ?? []).map((_, column) => keys.map((texts) => texts[column]!));
}

function* inGroups<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let from = 0; from < items.length; from += size) yield items.slice(from, from + size);
}

export function seconds(ms: number): number {
  return Math.round(ms / 10) / 100;
}

/** Refuses to compare a table that the service is not done with. */
export function refuseIncomplete(id: string, status: TablesStanding): void {
  const table = status.tables[id];
  if (table === undefined || table.state === 'streaming') return;
  throw new WalhouseError('sink_rejected', {
    what: `${id} is ${table.state}${table.error === null ? '' : ` (${table.error.what})`}.`,
    why: 'Its rows in ClickHouse are not those of any one position.',
    fix: table.error?.fix ?? 'wait until walhouse status says streaming, then compare again',
  });
}

/** ClickHouse has the table as it was before somebody altered it in the source. */
export class MadeFromOther extends WalhouseError {
  constructor({ id }: Relation) {
    super('sink_timeout', {
      what: `what ClickHouse has of ${id} was made from a table that looked otherwise.`,
      why: 'Its columns were altered in the source, and the service has yet to follow.',
      fix: 'compare again when walhouse status says streaming',
    });
  }
}

function tooMuchChanged(relation: Relation): WalhouseError {
  return new WalhouseError('sink_timeout', {
    what: `more than ${CHANGED_MAX.toLocaleString('en')} rows of ${relation.id} changed between the position and the comparison.`,
    why: 'Too little stood still for it to say anything.',
    fix: 'compare again when the large transaction is over',
  });
}

function copiedAnew(relation: Relation): WalhouseError {
  return new WalhouseError('sink_timeout', {
    what: `${relation.id} was copied anew while it was compared.`,
    why: 'What was deleted before the copy is not to be told from what is missing in it.',
    fix: 'compare again when walhouse status says streaming',
  });
}

function tooSlow(relation: Relation): WalhouseError {
  return new WalhouseError('sink_timeout', {
    what: `comparing ${relation.id} took so long that rows expired which were counted on.`,
    why: 'It says nothing of them.',
    fix: 'allow it more of the source with --max-load',
  });
}
