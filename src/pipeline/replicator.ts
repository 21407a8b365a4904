import { HoldInterrupted } from './applier.js';
import { Backoff, sleep } from './backoff.js';
import { lookOf } from './catalog-watch.js';
import { asWalhouseError, WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import { snapshotFirst } from './first-snapshots.js';
import { formatLsn, type Lsn } from './lsn.js';
import { Nudge } from './nudge.js';
import { Progress } from './progress.js';
import { interrupted, type RepairReport } from './repairs.js';
import { refuseForkedTimeline, refuseOtherCluster } from './refusals.js';
import type { Relation } from './relation.js';
import type { Sink } from './sink.js';
import type { SlotState, Source, Turn } from './source.js';
import { next, type Event, type State } from './state.js';
import { Streaming, type StreamingOptions } from './streaming.js';
import type { TableReport } from './table-report.js';
import { TableReports } from './table-reports.js';
import { publish, TableFacts, takeUp } from './take-up.js';

/** The two sides, as the configuration of the tables has them. */
export interface Ends {
  readonly sink: Sink;
  /** Connects to the source; called again after a failure. */
  readonly openSource: () => Promise<Source>;
}

export interface ReplicatorOptions extends Ends, StreamingOptions {
  readonly now?: () => number;
  readonly backoff?: Backoff;
}

/** A pass over one table or the whole, waiting for something; shown in status with its reason. */
export interface Waiting {
  readonly error: WalhouseError;
  readonly untilMs: number;
}

/** A table whose changes are refused again, with nothing stored since, makes the service wait so long. */
const ISOLATED_WAIT_MS = 2_000;
/** How soon a table is tried again that could not be published for a moment, at first and at last. */
const PUBLISH_AGAIN_MS = { firstMs: 2_000, longestMs: 60_000 };
/** How long ClickHouse may take to answer what is left to do, once the service leaves. */
const BREAK_OFF_MS = 4_000;
/** A standby looks at least so often whether the slot is free. */
const STANDBY_MS_MAX = 500;

/**
 * The service between a source and a sink: snapshots what is new, then streams, for ever, through failures.
 * `run` resolves after `close`, and rejects only when it is refused before it ever streamed.
 */
export class Replicator {
  readonly progress: Progress;
  readonly #options: ReplicatorOptions;
  readonly #now: () => number;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  readonly #tables: TableReports;
  readonly #nudge: Nudge;
  /** How far everything was when a table was last begun anew. */
  readonly #isolatedAt = new Map<string, Lsn | null>();
  readonly #publishAgain = new Backoff(PUBLISH_AGAIN_MS);
  #ends: Ends;
  /** Those who wait until the next attempt has a stream, or has failed. */
  readonly #awaited: (() => void)[] = [];
  #state: State = 'starting';
  #error: WalhouseError | null = null;
  #waiting: Waiting | null = null;
  #everStreamed = false;
  /** It has waited for another instance: it was accepted then, as far as it went, and nobody watches its start any more. */
  #everStoodBy = false;
  #pauseWanted = false;
  #streaming: Streaming | null = null;
  #following: ReadonlyMap<string, Relation> = new Map();
  /** Ordered anew while nothing was attached: the attempt under way may have read before that the table was fit. */
  readonly #ordered = new Set<string>();
  readonly #facts = new TableFacts();
  #wake = new AbortController();
  /** The attempt's. */
  #sink: Sink | null = null;
  #breaking: NodeJS.Timeout | undefined;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#ends = options;
    this.#now = options.now ?? Date.now;
    this.progress = new Progress(this.#now);
    this.#tables = new TableReports(options.log);
    this.#nudge = new Nudge(this.progress, () => this.#streaming?.attachment ?? null, this.#now);
    this.#backoff = options.backoff ?? new Backoff({ firstMs: 200, longestMs: 30_000 });
  }

  get state(): State {
    return this.#state;
  }

  get error(): WalhouseError | null {
    return this.#error;
  }

  get waiting(): Waiting | null {
    return this.#waiting;
  }

  get tables(): ReadonlyMap<string, TableReport> {
    return this.#tables.all;
  }

  /** Whether every table's snapshot is complete and the durable position has reached them all. */
  get consistent(): boolean {
    return this.consistentOver([...this.#tables.all.keys()]);
  }

  /** The same of these tables alone. */
  consistentOver(ids: readonly string[]): boolean {
    return this.#tables.consistentAt(this.progress.durable, ids);
  }

  /** The newest of the positions before which one of these tables is ahead of the others. */
  exactFrom(ids?: readonly string[]): Lsn {
    return this.#tables.exactFrom(ids);
  }

  async run(): Promise<void> {
    try {
      while (!this.#closing.signal.aborted) {
        const ends = this.#ends;
        const awaited = this.#awaited.splice(0);
        const begun = (): void => awaited.forEach((resolve) => resolve());
        try {
          await this.#attempt(ends, begun);
        } catch (error) {
          begun();
          if (this.#closing.signal.aborted) break;
          if (await this.#isolated(error, ends)) continue;
          await this.#failed(error, ends);
        }
      }
    } finally {
      clearInterval(this.#breaking);
      this.progress.close();
      this.#nudge.stop();
      for (const resolve of this.#awaited.splice(0)) resolve();
      this.#move('close');
      this.#move('closed');
    }
  }

  /** Stores what is on its way, confirms it, and lets `run` resolve. What gives no answer for long is broken off. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake.abort();
    this.progress.close();
    await this.#streaming?.attachment.leave();
    if (this.#state === 'closed') return;
    this.#breaking ??= setInterval(() => this.#sink?.breakOff(), BREAK_OFF_MS);
  }

  /**
   * Goes on with other ends: other tables, or the same ones kept otherwise. What is on its way is stored and confirmed first, and a
   * first snapshot completed. Resolves when these are in use, or it is known why they cannot be.
   */
  async reconfigure(ends: Ends): Promise<void> {
    const taken = new Promise<void>((resolve) => this.#awaited.push(resolve));
    this.#ends = ends;
    this.#wake.abort();
    // One that breaks meanwhile has ended as well.
    await this.#streaming?.attachment.leave().catch(() => undefined);
    await taken;
  }

  /** Stops reading; the slot stays ours. */
  async pause(): Promise<void> {
    if (this.#state !== 'streaming') throw new Error(`cannot pause while ${this.#state}`);
    this.#pauseWanted = true;
    this.#move('pause');
    await this.#streaming?.attachment.pause();
  }

  resume(): void {
    if (this.#state !== 'paused') throw new Error(`cannot resume while ${this.#state}`);
    this.#pauseWanted = false;
    this.#move('resume');
    this.#streaming?.attachment.resume();
  }

  /**
   * Snapshots these tables anew while everything goes on. Where the service has stopped, because its slot is lost or the cluster
   * is another one, `all` begins again with everything.
   */
  async resync(ids: readonly string[], all: boolean): Promise<void> {
    const { sink } = this.#ends;
    const beginsAgain = this.#streaming === null && all && this.#state === 'stopped';
    // It may have stopped before it ever wrote.
    if (beginsAgain) await sink.open();
    await sink.markStale(ids, 'fit');
    if (beginsAgain) await sink.forgetCheckpoint();
    if (this.#streaming === null) {
      for (const id of ids) this.#ordered.add(id);
      this.#wake.abort();
      return;
    }
    let reattach = false;
    for (const id of ids) {
      const report = this.#tables.all.get(id);
      const relation = this.#following.get(id);
      if (report === undefined || relation === undefined) reattach = true;
      else this.#streaming?.stages.begin({ relation, report, live: report.state === 'streaming' });
    }
    if (reattach) await this.#streaming.attachment.leave();
  }

  /** Stores the source's rows of some keys anew; see `Repairs.repair`. */
  async repair(id: string, keys: readonly (readonly string[])[]): Promise<RepairReport> {
    const relation = this.#following.get(id);
    if (this.#streaming === null || relation === undefined)
      throw interrupted({ id }, `this instance is ${this.#state} and does not stream it`, 'walhouse status');
    return this.#streaming.repairs.repair(relation, this.#tables.of(id), keys);
  }

  /** Tries again now, after somebody applied the fix. */
  retry(): void {
    this.#wake.abort();
  }

  /** See `Progress.waitFor`; also asks the source again and again, so that an idle one answers at once. */
  async waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const reached = this.progress.waitFor(lsn, timeoutMs, signal);
    this.#nudge.begin();
    return reached;
  }

  /** Whether a stream is attached, so that `hold` can say what is stored. */
  get attached(): boolean {
    return this.#streaming !== null;
  }

  /** See `Applier.hold`. */
  async hold<T>(fn: () => Promise<T>): Promise<T> {
    const applier = this.#streaming?.attachment.applier;
    if (applier === undefined) throw new HoldInterrupted();
    return applier.hold(fn);
  }

  async #attempt(ends: Ends, onBegun: () => void): Promise<void> {
    const { sink } = ends;
    const { log } = this.#options;
    this.#sink = sink;
    // Attaching anew after a look at the catalog is no change of state.
    const going = this.#state === 'streaming' || this.#state === 'paused';
    if (this.#state !== 'starting' && this.#state !== 'standby' && !going) this.#move('attempt');
    const source = await ends.openSource();
    let turn: Turn | null = null;
    let streaming: Streaming | null = null;
    try {
      // A standby touches nothing, on either side: its configuration may be another one.
      turn = await source.takeTurn();
      if (this.#state === 'standby') this.#move('attempt');
      const identity = await source.identify();
      const askedAtMs = this.#now();
      const before = (await sink.stored()).checkpoint;
      refuseOtherCluster(before, identity);
      await refuseForkedTimeline(source, before, identity);
      await sink.open();
      const checkpoint = await sink.loadCheckpoint();
      refuseOtherCluster(checkpoint, identity);
      const survey = await source.survey();
      const seen = await source.currentLsn();
      const followable = await this.#tables.followable(survey, sink, checkpoint !== null);
      const parts = { source, sink, tables: this.#tables, facts: this.#facts, slot: this.#options.slot, log };
      const { relations, soon } = await publish(parts, followable, checkpoint !== null);
      const { appliedLsn, rebuilt } =
        checkpoint === null
          ? { appliedLsn: await this.#snapshotFirst(source, sink, relations), rebuilt: [] }
          : await takeUp(parts, relations, checkpoint, seen);
      if (this.#closing.signal.aborted) return;
      this.progress.advance(appliedLsn, checkpoint?.committedAtUs ?? null);
      // The last commit may be long ago although what was stored since was all there was.
      if (checkpoint !== null && before !== null && before.lagMs !== null)
        this.progress.freshen(askedAtMs - before.ageMs - before.lagMs);
      const wholeFrom = await source.currentLsn();
      for (const report of rebuilt) report.exactFrom = wholeFrom;
      // From here to the stream there is no wait: whoever closes later finds the attachment.
      if (this.#closing.signal.aborted) return;
      this.#following = new Map(relations.map((relation) => [relation.id, relation]));
      streaming = new Streaming(
        { ...this.#options, sink },
        {
          source,
          turn,
          survey,
          relations,
          identity,
          wholeFrom,
          ordered: this.#ordered,
          tables: this.#tables,
          facts: this.#facts,
          progress: this.progress,
          now: this.#now,
          waitFor: (lsn, timeoutMs, signal) => this.waitFor(lsn, timeoutMs, signal),
          onRetry: (error, waitMs) => this.#retrying(error, waitMs),
        },
      );
      this.#streaming = streaming;
      this.#error = null;
      this.#waiting = null;
      if (this.#state !== 'streaming' && this.#state !== 'paused') this.#move('ready');
      this.#everStreamed = true;
      log.info({ appliedLsn: formatLsn(appliedLsn), tables: relations.length }, 'streaming');
      if (soon) streaming.leaveAfter(this.#publishAgain.nextMs());
      else this.#publishAgain.reset();
      const running = streaming.run();
      onBegun();
      if (this.#ends !== ends) streaming.leave();
      // A pause outlives a reconnect.
      if (this.#pauseWanted) {
        this.#move('pause');
        await Promise.race([streaming.attachment.pause(), running]);
      }
      await running;
    } finally {
      this.#streaming = null;
      if (streaming === null) {
        await turn?.end();
        await source.close();
      } else await streaming.close();
    }
  }

  /** Everything from nothing, before the stream begins; returns the position from which on it is applied. */
  async #snapshotFirst(source: Source, sink: Sink, relations: readonly Relation[]): Promise<Lsn> {
    this.progress.restart();
    for (const { id } of relations)
      Object.assign(this.#tables.of(id), { state: 'waiting', snapshot: null, exactFrom: null, error: null });
    const slot = await this.#usableSlot(source);
    this.#move('needs_snapshot');
    const snapshot = slot === null ? await source.createSlot() : await source.openSnapshot();
    try {
      await snapshotFirst(relations, {
        sink,
        snapshot,
        report: ({ id }) => this.#tables.of(id),
        check: () => {
          if (this.#closing.signal.aborted) throw new Error('closing');
        },
        now: this.#now,
        log: this.#options.log,
      });
      for (const { id } of relations) this.#facts.since.set(id, snapshot.consistentPoint);
    } finally {
      await snapshot.close();
    }
    failpoint('after_snapshots');
    this.#move('snapshot_done');
    // The stream begins at the slot's position, at or before the snapshot; what it repeats is in it.
    return slot === null ? snapshot.consistentPoint : slot.confirmedLsn;
  }

  /** Nothing is stored that a lost slot could go on from, so it is in the way of a new one. */
  async #usableSlot(source: Source): Promise<SlotState | null> {
    try {
      return await source.slot();
    } catch (error) {
      if (!(error instanceof WalhouseError) || error.kind !== 'slot_lost') throw error;
      this.#options.log.warn({ kind: error.kind }, `the slot is dropped and made anew: ${error.what}`);
      await source.dropSlot();
      return null;
    }
  }

  /**
   * A failure that is one table's. Other columns than those that were looked at may mean that they have just been changed; else what is
   * stored of the table takes no more changes, and it is snapshotted anew beside the readers.
   */
  async #isolated(error: unknown, { sink }: Ends): Promise<boolean> {
    if (!(error instanceof WalhouseError) || error.table === null || !this.#everStreamed) return false;
    if (error.kind !== 'schema_changed' && error.kind !== 'table_no_identity') return false;
    if (!this.#tables.all.has(error.table)) return false;
    const { durable } = this.progress;
    const waitMs = this.#isolatedAt.get(error.table) === durable ? ISOLATED_WAIT_MS : 0;
    this.#isolatedAt.set(error.table, durable);
    this.#options.log.warn({ table: error.table, kind: error.kind, waitMs }, error.message);
    const relation = this.#following.get(error.table);
    try {
      if (error.kind === 'schema_changed' && relation !== undefined)
        this.#facts.doubted.set(error.table, lookOf(relation));
      else await sink.markStale([error.table], 'unfit');
    } catch (cause) {
      await this.#failed(cause, this.#ends);
      return true;
    }
    if (waitMs > 0) {
      this.#retrying(error, waitMs);
      await sleep(waitMs, this.#closing.signal);
    }
    return true;
  }

  #retrying(error: WalhouseError | null, waitMs: number): void {
    this.#error = error;
    this.#waiting = error === null ? null : { error, untilMs: this.#now() + waitMs };
    if (error !== null) {
      this.#options.meter?.retried(error.kind);
      this.#move('fail_retry');
    } else if (this.#state === 'retrying') {
      this.#move('recovered');
      if (this.#pauseWanted) this.#move('pause');
    }
  }

  async #failed(cause: unknown, ends: Ends): Promise<void> {
    const error = asWalhouseError(cause);
    const retry = error.policy === 'retry';
    // At the first contact a person is watching: say it and leave. Waiting for another instance is no mistake.
    const standby = error.policy === 'stand_by';
    if (!this.#everStreamed && !this.#everStoodBy && !standby) throw error;
    this.#error = error;
    const backoffMs = retry || standby ? this.#backoff.nextMs() : null;
    const waitMs = standby && backoffMs !== null ? Math.min(backoffMs, STANDBY_MS_MAX) : backoffMs;
    const waitsOn = standby && this.#state === 'standby';
    this.#everStoodBy ||= standby;
    if (retry) this.#options.meter?.retried(error.kind);
    this.#move(standby ? 'stand_by' : retry ? 'fail_retry' : 'fail_stop');
    this.#waiting = waitMs === null ? null : { error, untilMs: this.#now() + waitMs };
    if (!standby) this.#options.log.error({ kind: error.kind, waitMs, err: error }, error.message);
    else if (!waitsOn) this.#options.log.info({ kind: error.kind }, error.message);
    this.#wake = new AbortController();
    if (this.#closing.signal.aborted || this.#ends !== ends) return;
    if (waitMs !== null) await sleep(waitMs, this.#wake.signal);
    else await new Promise<void>((resolve) => onAbort(this.#wake.signal, resolve));
  }

  #move(event: Event): void {
    const from = this.#state;
    this.#state = next(from, event);
    if (from !== this.#state) this.#options.log.info({ from, to: this.#state, event }, 'state changed');
    if (this.#state === 'streaming') this.#backoff.reset();
  }
}

function onAbort(signal: AbortSignal, then: () => void): void {
  if (signal.aborted) then();
  else signal.addEventListener('abort', then, { once: true });
}
