import type { Attachment } from './attachment.js';
import { HoldInterrupted } from './applier.js';
import { Backoff, sleep } from './backoff.js';
import { WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { Sink } from './sink.js';
import type { Source } from './source.js';
import { copyTable } from './table-copy.js';
import type { TableReport } from './table-report.js';

/**
 * A question that took its position before a snapshot's consistent point may still be on its way to ClickHouse for so long; the new
 * mart could not answer it.
 */
const QUESTION_MS = 2_500;
const WAIT_MS = 1_000;

export interface StagesOptions {
  readonly sink: Sink;
  readonly source: Source;
  readonly attachment: () => Attachment;
  readonly log: Log;
  readonly now: () => number;
  readonly waitFor: (lsn: Lsn, timeoutMs: number, signal: AbortSignal) => Promise<boolean>;
  /** The table's changes count from here on. */
  readonly settle: (relation: Relation, since: Lsn, switched: boolean) => void;
}

interface Wanted {
  readonly relation: Relation;
  readonly report: TableReport;
  /** What people read takes changes meanwhile. */
  readonly live: boolean;
}

/**
 * Snapshots while streaming: for tables that were added, that are to be resynced, or whose columns have changed. One after the other:
 *
 *   open a stage (from now on the stream fills it) -> a slot exports a snapshot at C -> COPY into the stage
 *     -> wait until everything before C is durable -> hold the applier -> the stage takes the table's place
 *
 * C is after all that was stored before the stage was there, and every later change reaches the stage; so between stage and
 * snapshot nothing is missing, and what is twice there has the same version.
 */
export class Stages {
  readonly #options: StagesOptions;
  readonly #stopping = new AbortController();
  readonly #queue: Wanted[] = [];
  #working: Promise<void> | null = null;

  constructor(options: StagesOptions) {
    this.#options = options;
  }

  begin(wanted: Wanted): void {
    if (this.#stopping.signal.aborted || this.#queue.some(({ relation }) => relation === wanted.relation))
      return;
    // Known from now on, though others may come before it.
    if (wanted.live) wanted.report.state = 'resyncing';
    this.#queue.push(wanted);
    this.#working ??= this.#work().finally(() => (this.#working = null));
  }

  /** Gives up what is not finished. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#queue.length = 0;
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let wanted = this.#queue[0]; wanted !== undefined; wanted = this.#queue[0]) {
      try {
        await this.#patiently(wanted);
      } catch (error) {
        if (this.#stopping.signal.aborted || error instanceof HoldInterrupted) return;
        wanted.report.snapshot = null;
        // What was half done is settled by the next attachment.
        this.#options.attachment().fail(error);
        return;
      }
      this.#queue.shift();
    }
  }

  /** Tries again while what failed passes by itself; the stream goes on meanwhile. */
  async #patiently(wanted: Wanted): Promise<void> {
    const backoff = new Backoff({ firstMs: 200, longestMs: 10_000 });
    for (;;) {
      try {
        while (!(await this.#stage(wanted))) {
          this.#options.log.info(
            { table: wanted.relation.id },
            'the snapshot begins again: the table was truncated',
          );
        }
        return;
      } catch (error) {
        if (!(error instanceof WalhouseError) || error.policy !== 'retry' || error instanceof SwitchFailed)
          throw error;
        this.#stopping.signal.throwIfAborted();
        const waitMs = backoff.nextMs();
        wanted.report.error = error;
        this.#options.log.warn({ table: wanted.relation.id, kind: error.kind, waitMs }, error.message);
        await sleep(waitMs, this.#stopping.signal);
      }
    }
  }

  /** False when the snapshot has to begin again. */
  async #stage({ relation, report, live }: Wanted): Promise<boolean> {
    const { sink, source, now, log, settle, waitFor } = this.#options;
    const { signal } = this.#stopping;
    report.state = live ? 'resyncing' : 'snapshotting';
    await sink.openStage(relation, live);
    failpoint('stage_opened');
    const snapshot = await source.openSnapshot();
    const { consistentPoint } = snapshot;
    try {
      signal.throwIfAborted();
      if (!live) settle(relation, consistentPoint, false);
      await copyTable({
        snapshot,
        relation,
        openWriter: () => sink.beginSnapshot(relation, consistentPoint),
        report,
        check: () => {
          signal.throwIfAborted();
        },
        now,
        log,
      });
    } finally {
      await snapshot.close();
    }
    failpoint('stage_filled');
    if (sink.stageSpoilt(relation)) return false;
    while (!(await waitFor(consistentPoint, WAIT_MS, signal))) signal.throwIfAborted();
    if (sink.stageHasMarts(relation)) await sleep(QUESTION_MS, signal);
    signal.throwIfAborted();
    return this.#options.attachment().applier.hold(async () => {
      signal.throwIfAborted();
      if (sink.stageSpoilt(relation)) return false;
      // What the checkpoint says is at or after the snapshot, should the process end in the middle of this.
      await this.#options.attachment().flushCheckpoint();
      try {
        await sink.endSnapshot(relation, consistentPoint);
      } catch (error) {
        throw new SwitchFailed(error);
      }
      settle(relation, consistentPoint, true);
      report.state = 'streaming';
      report.error = null;
      report.exactFrom = consistentPoint;
      log.info({ table: relation.id }, 'the new copy has taken the place of the old');
      return true;
    });
  }
}

/** A switch that was cut off: what it has done is found out by attaching anew, never by trying again. */
class SwitchFailed extends WalhouseError {
  constructor(cause: unknown) {
    const error = cause instanceof WalhouseError ? cause : null;
    super(error?.kind ?? 'internal', {
      what: error?.what ?? (cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)),
      why: error?.why ?? 'A new copy of a table could not take the place of the old one.',
      fix: error?.fix ?? 'report this with the log before it; Walhouse attaches anew',
      cause,
    });
  }
}
