import type { Attachment } from './attachment.js';
import { HoldInterrupted } from './applier.js';
import { Backoff, sleep } from './backoff.js';
import { WalhouseError, type ErrorKind } from './errors.js';
import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import { QUESTION_MS, type Sink } from './sink.js';
import type { Source } from './source.js';
import { copyTable } from './table-copy.js';
import type { TableReport } from './table-report.js';

/** Between the end of the time for which a stored position may be used and what makes it untrue. */
const MARGIN_MS = 100;
const WAIT_MS = 1_000;
/** The longest wait until a copy that failed is tried again. */
const AGAIN_MS_MAX = 30_000;

export interface StagesOptions {
  readonly sink: Sink;
  readonly source: Source;
  readonly attachment: () => Attachment;
  readonly log: Log;
  readonly now: () => number;
  readonly waitFor: (lsn: Lsn, timeoutMs: number, signal: AbortSignal) => Promise<boolean>;
  /** A copy failed and is tried again. */
  readonly onRetry: (kind: ErrorKind) => void;
  /** The table's changes count from here on. */
  readonly settle: (relation: Relation, since: Lsn, switched: boolean) => void;
}

interface Wanted {
  readonly relation: Relation;
  readonly report: TableReport;
  /** What people read takes changes meanwhile. */
  readonly live: boolean;
}

interface Queued extends Wanted {
  readonly backoff: Backoff;
  /** After a failure. */
  notBeforeMs: number;
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
  #queue: Queued[] = [];
  #arrived = new AbortController();
  #working: Promise<void> | null = null;

  constructor(options: StagesOptions) {
    this.#options = options;
  }

  /** One that was put off has its turn at once. */
  begin(wanted: Wanted): void {
    if (this.#stopping.signal.aborted) return;
    const known = this.#queue.find(({ relation }) => relation === wanted.relation);
    if (known !== undefined) {
      known.notBeforeMs = 0;
      this.#arrived.abort();
      return;
    }
    const backoff = new Backoff({ firstMs: 200, longestMs: AGAIN_MS_MAX });
    this.#queue.push({ ...wanted, backoff, notBeforeMs: 0 });
    this.#arrived.abort();
    this.#working ??= this.#work().finally(() => (this.#working = null));
  }

  /** Gives up what is not finished. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#queue.length = 0;
    this.#arrived.abort();
    await this.#working;
  }

  /** One that fails is put off, and the next has its turn. */
  async #work(): Promise<void> {
    for (let next = await this.#next(); next !== null; next = await this.#next()) {
      const queued = next;
      try {
        while (!(await this.#stage(queued))) {
          this.#options.log.info(
            { table: queued.relation.id },
            'the snapshot begins again: the table was truncated',
          );
        }
        this.#queue = this.#queue.filter((other) => other !== queued);
      } catch (error) {
        if (this.#stopping.signal.aborted || error instanceof HoldInterrupted) return;
        queued.report.snapshot = null;
        if (this.#putOff(queued, error)) continue;
        // What was half done is settled by the next attachment.
        this.#options.attachment().fail(error);
        return;
      }
    }
  }

  /** Waits for the one that is due first; null when there is none. */
  async #next(): Promise<Queued | null> {
    for (;;) {
      const first = this.#queue.reduce<Queued | null>(
        (best, queued) => (best === null || queued.notBeforeMs < best.notBeforeMs ? queued : best),
        null,
      );
      if (first === null || this.#stopping.signal.aborted) return null;
      const waitMs = first.notBeforeMs - this.#options.now();
      if (waitMs <= 0) return first;
      this.#arrived = new AbortController();
      await sleep(waitMs, this.#arrived.signal);
    }
  }

  /**
   * Whatever keeps one table from being copied is that table's own trouble: what concerns all of them, the stream and the batches find
   * out by themselves. It is tried again for ever, and status says why. False where nothing is known of what is half done.
   */
  #putOff(queued: Queued, error: unknown): boolean {
    if (!(error instanceof WalhouseError) || error instanceof SwitchFailed) return false;
    if (error.policy === 'stand_by' || error.kind === 'internal') return false;
    const { relation, report, live, backoff } = queued;
    const waitMs = backoff.nextMs();
    queued.notBeforeMs = this.#options.now() + waitMs;
    const isNew = report.error?.message !== error.message;
    report.error = error;
    const told = { table: relation.id, kind: error.kind, waitMs };
    if (error.policy === 'retry') {
      this.#options.onRetry(error.kind);
      this.#options.log.warn(told, error.message);
      return true;
    }
    if (!live) report.state = 'stopped';
    if (isNew) this.#options.log.error(told, error.message);
    return true;
  }

  /** False when the snapshot has to begin again. */
  async #stage({ relation, report, live }: Queued): Promise<boolean> {
    const { sink, source, now, log, settle, waitFor } = this.#options;
    const { signal } = this.#stopping;
    // One that has failed stays an alarm until rows come.
    if (live || report.state !== 'stopped') report.state = live ? 'resyncing' : 'snapshotting';
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
          if (!live) report.state = 'snapshotting';
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
    if (sink.stageHasMarts(relation)) {
      // Readers take their positions from what is stored, some of them a moment ago, and the new mart cannot answer at older ones.
      await this.#options.attachment().flushCheckpoint();
      await sleep(QUESTION_MS + MARGIN_MS, signal);
    }
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
