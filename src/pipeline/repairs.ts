import type { Applier } from './applier.js';
import { WalhouseError } from './errors.js';
import type { Log } from './log.js';
import { formatLsn, type Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { RepairWriter, Sink } from './sink.js';
import type { Snapshot, Source } from './source.js';
import type { TableReport } from './table-report.js';

/** How many keys one repair may name. */
export const REPAIR_KEYS_MAX = 1_000;
/** What the rows of one repair may take in memory, unless it is a single one. */
const BYTES_MAX = 64 * 1024 * 1024;
/** Repairs that wait for the one that runs. */
const WAITING_MAX = 8;
/** How often one begins again because the table was truncated or copied meanwhile. */
const ATTEMPTS_MAX = 3;
/** How long the stream may take to come to the snapshot's position. */
const POSITION_MS = 60_000;

/** Texts of the key's columns, in the order of the key. */
type Keys = readonly (readonly string[])[];

/** What became of some keys. */
export interface RepairReport {
  /** The rows are those of the source here. */
  readonly position: Lsn;
  /** Rows that the source has, which were stored anew. */
  readonly rows: number;
  /** Rows of ClickHouse that were hidden: what the source does not have, and what stood where a row was stored anew. */
  readonly hidden: number;
  /** Keys with a version that no commit can have had yet. It wins over the repair: only a new copy of the table helps. */
  readonly beyond: number;
}

export interface RepairsOptions {
  readonly sink: Pick<Sink, 'copyOf' | 'beginRepair'>;
  readonly source: Pick<Source, 'openSnapshot'>;
  readonly attachment: () => {
    readonly applier: Pick<Applier, 'hold'>;
    readonly flushCheckpoint: () => Promise<void>;
  };
  readonly durable: () => Lsn | null;
  readonly waitFor: (lsn: Lsn, timeoutMs: number, signal: AbortSignal) => Promise<boolean>;
  readonly log: Log;
}

/**
 * Stores the source's rows of some keys anew while everything streams:
 *
 *   a slot exports a snapshot at C -> the rows of the keys are read -> wait until everything before C is durable
 *     -> look what stands under the keys -> hold the applier -> store the rows as of C, and tombstones for what stood there
 *
 * Versions decide what counts, as for a whole snapshot: later commits are above C's version and win, earlier ones, delivered again or
 * not, are below. What has no version of its own that would win is a truncate, which hides the rows that are there when it
 * comes; and a new copy of the table has only what was there at its own C. So when either came meanwhile, the repair begins again.
 */
export class Repairs {
  readonly #options: RepairsOptions;
  readonly #closing = new AbortController();
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: RepairsOptions) {
    this.#options = options;
  }

  /**
   * One after the other. `keys` are Postgres's texts of the key's columns, in the order of the key. Rejects with
   * `repair_interrupted` when it could not be done now, `repair_too_large` when fewer keys have to be named.
   */
  repair(relation: Relation, report: TableReport, keys: Keys): Promise<RepairReport> {
    if (this.#waiting >= WAITING_MAX) {
      return Promise.reject(
        interrupted(relation, `${WAITING_MAX} repairs wait already`, 'ask again when they are done'),
      );
    }
    const columns = relation.key.length;
    if (keys.some((texts) => texts.length !== columns)) return Promise.reject(otherKey(relation));
    this.#waiting += 1;
    const mine = this.#last
      .then(() => {
        report.repairing = true;
        return this.#repair(relation, report, keys);
      })
      .finally(() => {
        report.repairing = false;
        this.#waiting -= 1;
      });
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  /** Gives up what is not finished. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#last;
  }

  async #repair(relation: Relation, report: TableReport, keys: Keys): Promise<RepairReport> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const done = await this.#attempt(relation, report, keys).catch((error: unknown) => {
        if (this.#closing.signal.aborted) throw leaving(relation);
        throw error;
      });
      if (done === null) continue;
      const { position, ...counts } = done;
      this.#options.log.info(
        { table: relation.id, keys: keys.length, position: formatLsn(position), ...counts },
        'rows were repaired',
      );
      return done;
    }
    throw interrupted(
      relation,
      'it was truncated again and again meanwhile',
      'repair it when that has an end',
    );
  }

  /** Null when it has to begin again. */
  async #attempt(relation: Relation, report: TableReport, keys: Keys): Promise<RepairReport | null> {
    const { sink, attachment, durable, waitFor } = this.#options;
    const { signal } = this.#closing;
    this.#refuseUnfit(relation, report);
    const copy = sink.copyOf(relation);
    const { position, writer, printed } = await this.#read(relation, keys);
    if (!(await waitFor(position, POSITION_MS, signal))) {
      signal.throwIfAborted();
      throw interrupted(
        relation,
        `the stream did not come to ${formatLsn(position)} in ${POSITION_MS / 1_000} s`,
        'look at walhouse status for what keeps it; walhouse resume if it is paused',
      );
    }
    await writer.look(printed);
    return attachment().applier.hold(async () => {
      signal.throwIfAborted();
      this.#refuseUnfit(relation, report);
      if (sink.copyOf(relation) !== copy) return null;
      // Should the process end now, the next one begins at or after the position of what is stored here.
      await attachment().flushCheckpoint();
      const stored = await writer.store(durable() ?? position);
      return { position, ...stored };
    });
  }

  /** Brings the source's rows to a writer; the snapshot is closed as soon as they are read. */
  async #read(
    relation: Relation,
    keys: Keys,
  ): Promise<{ position: Lsn; writer: RepairWriter; printed: Keys }> {
    const snapshot = await this.#open();
    try {
      const position = snapshot.consistentPoint;
      const writer = await this.#options.sink.beginRepair(relation, position);
      const printed = await snapshot.readKeys(relation, keys, {
        cut: writer.cut,
        onRow: (row) => {
          writer.add(row);
          if (writer.bytes > BYTES_MAX && keys.length > 1) throw tooLarge(relation);
        },
      });
      return { position, writer, printed };
    } finally {
      await snapshot.close();
    }
  }

  #refuseUnfit(relation: Relation, report: TableReport): void {
    this.#closing.signal.throwIfAborted();
    if (report.state === 'streaming') return;
    throw interrupted(
      relation,
      `it is ${report.state}`,
      'wait until walhouse status says streaming, then verify again',
    );
  }

  /** A slot waits for every transaction that is open, for as long as that takes; whoever leaves does not wait with it. */
  async #open(): Promise<Snapshot> {
    const { signal } = this.#closing;
    const opening = this.#options.source.openSnapshot();
    let onAbort = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(new Error('closing'));
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      return await Promise.race([opening, aborted]);
    } catch (error) {
      opening.then(
        (late) => late.close(),
        () => undefined,
      );
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/** What keeps a repair from being done now. */
export function interrupted(relation: { readonly id: string }, what: string, fix: string): WalhouseError {
  return new WalhouseError('repair_interrupted', {
    what: `${relation.id} was not repaired: ${what}.`,
    why: 'Nothing of this repair was stored.',
    fix,
  });
}

function otherKey(relation: Relation): WalhouseError {
  const names = relation.key.map((index) => `"${relation.columns[index]!.name}"`);
  return new WalhouseError('source_rejected', {
    what: `a key of ${relation.id} is ${names.join(', ')}, and other keys were named.`,
    why: 'It is not known which rows are meant.',
    fix: `name ${relation.key.length} text${relation.key.length === 1 ? '' : 's'} for each key`,
  });
}

function leaving(relation: Relation): WalhouseError {
  return interrupted(relation, 'the service attaches anew or leaves', 'ask again in a moment');
}

function tooLarge(relation: Relation): WalhouseError {
  return new WalhouseError('repair_too_large', {
    what: `the rows of ${relation.id} that are to be repaired take more than ${BYTES_MAX / 1024 / 1024} MiB.`,
    why: 'They are stored at once, so they must fit into memory.',
    fix: 'name fewer keys',
  });
}
