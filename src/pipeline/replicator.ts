import { HoldInterrupted } from './applier.js';
import { Attachment, type AttachmentOptions } from './attachment.js';
import { Backoff, sleep } from './backoff.js';
import { WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import { formatLsn, type Lsn } from './lsn.js';
import { Progress } from './progress.js';
import type { Relation } from './relation.js';
import type { Checkpoint } from './sink.js';
import type { Since, Snapshot, Source, SourceIdentity, Survey } from './source.js';
import { CatalogWatch } from './catalog-watch.js';
import { Stages } from './stages.js';
import { next, type Event, type State } from './state.js';
import { copyTable } from './table-copy.js';
import type { TableReport } from './table-report.js';

export interface ReplicatorOptions extends AttachmentOptions {
  /** Connects to the source; called again after a failure. */
  readonly openSource: () => Promise<Source>;
  /** How often the source's catalog is looked at for changes. */
  readonly catalogMs?: number;
  readonly now?: () => number;
  readonly backoff?: Backoff;
}

/** A pass over one table or the whole, waiting for something; shown in status with its reason. */
export interface Waiting {
  readonly error: WalhouseError;
  readonly untilMs: number;
}

/** How many tables are snapshotted at once. */
const SNAPSHOTS_AT_ONCE = 2;
/** How often the source's catalog is looked at. */
const CATALOG_MS = 2_000;
/** How often a position that somebody waits for is asked for. */
const NUDGE_MS = 10;
/** A standby looks at least so often whether the slot is free. */
const STANDBY_MS_MAX = 1_000;
/** How long a waited-for position may stand still before a heartbeat pushes the source's WAL on. */
const HEARTBEAT_AFTER_MS = 200;

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
  readonly #tables = new Map<string, TableReport>();
  #state: State = 'starting';
  #error: WalhouseError | null = null;
  #waiting: Waiting | null = null;
  #everStreamed = false;
  /** It has waited for another instance: it was accepted then, as far as it went, and nobody watches its start any more. */
  #everStoodBy = false;
  #pauseWanted = false;
  #attach: Attachment | null = null;
  #stages: Stages | null = null;
  #following: ReadonlyMap<string, Relation> = new Map();
  readonly #since = new Map<string, ReturnType<Since>>();
  #wake = new AbortController();
  #nudging: NodeJS.Timeout | null = null;
  #nudgedSinceMs = 0;

  constructor(options: ReplicatorOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.progress = new Progress(this.#now);
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
    return this.#tables;
  }

  /** Whether every table's snapshot is complete and the durable position has reached them all. */
  get consistent(): boolean {
    return this.consistentOver([...this.#tables.keys()]);
  }

  /** The same of these tables alone. */
  consistentOver(ids: readonly string[]): boolean {
    const { durable } = this.progress;
    if (durable === null || this.#tables.size === 0 || durable < this.exactFrom(ids)) return false;
    return ids.every((id) => {
      const state = this.#tables.get(id)?.state;
      return state === 'streaming' || state === 'resyncing';
    });
  }

  /** The newest of the positions before which one of these tables is ahead of the others. */
  exactFrom(ids: readonly string[] = [...this.#tables.keys()]): Lsn {
    let newest = 0n;
    for (const id of ids) {
      const exactFrom = this.#tables.get(id)?.exactFrom ?? null;
      if (exactFrom !== null && exactFrom > newest) newest = exactFrom;
    }
    return newest;
  }

  async run(): Promise<void> {
    try {
      while (!this.#closing.signal.aborted) {
        try {
          await this.#attempt();
        } catch (error) {
          if (this.#closing.signal.aborted) break;
          if (await this.#isolated(error)) continue;
          await this.#failed(error);
        }
      }
    } finally {
      this.progress.close();
      if (this.#nudging !== null) clearInterval(this.#nudging);
      this.#move('close');
      this.#move('closed');
    }
  }

  /** Stores what is on its way, confirms it, and lets `run` resolve. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake.abort();
    this.progress.close();
    await this.#attach?.leave();
  }

  /** Stops reading; the slot stays ours. */
  async pause(): Promise<void> {
    if (this.#state !== 'streaming') throw new Error(`cannot pause while ${this.#state}`);
    this.#pauseWanted = true;
    this.#move('pause');
    await this.#attach?.pause();
  }

  resume(): void {
    if (this.#state !== 'paused') throw new Error(`cannot resume while ${this.#state}`);
    this.#pauseWanted = false;
    this.#move('resume');
    this.#attach?.resume();
  }

  /**
   * Snapshots these tables anew while everything goes on. Where the service has stopped, because its slot is lost or the cluster
   * is another one, `all` begins again with everything.
   */
  async resync(ids: readonly string[], all: boolean): Promise<void> {
    const { sink } = this.#options;
    await sink.markStale(ids, 'fit');
    if (this.#attach === null && all && this.#state === 'stopped') await sink.forgetCheckpoint();
    if (this.#attach === null) {
      this.#wake.abort();
      return;
    }
    let reattach = false;
    for (const id of ids) {
      const report = this.#tables.get(id);
      const relation = this.#following.get(id);
      if (report === undefined || relation === undefined) reattach = true;
      else if (report.state === 'streaming') this.#stages?.begin({ relation, report, live: true });
    }
    if (reattach) await this.#attach.leave();
  }

  /** Tries again now, after somebody applied the fix. */
  retry(): void {
    this.#wake.abort();
  }

  /** See `Progress.waitFor`; also asks the source again and again, so that an idle one answers at once. */
  async waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const reached = this.progress.waitFor(lsn, timeoutMs, signal);
    if (this.progress.waiting && this.#nudging === null) {
      this.#nudgedSinceMs = this.#now();
      this.#nudging = setInterval(() => this.#nudge(), NUDGE_MS);
      this.#nudge();
    }
    return reached;
  }

  /** Whether a stream is attached, so that `hold` can say what is stored. */
  get attached(): boolean {
    return this.#attach !== null;
  }

  /** See `Applier.hold`. */
  async hold<T>(fn: () => Promise<T>): Promise<T> {
    const applier = this.#attach?.applier;
    if (applier === undefined) throw new HoldInterrupted();
    return applier.hold(fn);
  }

  #nudge(): void {
    if (!this.progress.waiting) {
      if (this.#nudging !== null) clearInterval(this.#nudging);
      this.#nudging = null;
      return;
    }
    this.#attach?.ping();
    if (this.#now() - this.#nudgedSinceMs < HEARTBEAT_AFTER_MS) return;
    this.#nudgedSinceMs = this.#now() + 800;
    this.#attach?.heartbeat();
  }

  async #attempt(): Promise<void> {
    const { sink, log } = this.#options;
    // Attaching anew after a look at the catalog is no change of state.
    const going = this.#state === 'streaming' || this.#state === 'paused';
    if (this.#state !== 'starting' && this.#state !== 'standby' && !going) this.#move('attempt');
    const source = await this.#options.openSource();
    let watch: CatalogWatch | null = null;
    try {
      const identity = await source.identify();
      // A standby touches nothing, on either side: its configuration may be another one.
      if (!going) await refuseHeldSlot(source, this.#options.slot);
      if (this.#state === 'standby') this.#move('attempt');
      await sink.open();
      const checkpoint = await sink.loadCheckpoint();
      refuseOtherCluster(checkpoint, identity);
      const survey = await source.survey();
      const relations = this.#followable(survey, checkpoint !== null);
      await source.ensurePublication();
      const rebuilt: TableReport[] = [];
      const appliedLsn =
        checkpoint === null
          ? await this.#snapshotFirst(source, relations)
          : await this.#continue(source, relations, checkpoint, rebuilt);
      if (this.#closing.signal.aborted) return;
      this.progress.advance(appliedLsn, checkpoint?.committedAtUs ?? null);
      const wholeFrom = await source.currentLsn();
      for (const report of rebuilt) report.exactFrom = wholeFrom;
      // From here to the stream there is no wait: whoever closes later finds the attachment.
      if (this.#closing.signal.aborted) return;
      const stages = new Stages({
        sink,
        source,
        attachment: () => this.#attach!,
        log,
        now: this.#now,
        waitFor: (lsn, timeoutMs, signal) => this.waitFor(lsn, timeoutMs, signal),
        settle: (relation, since) => this.#since.set(relation.id, since),
      });
      this.#stages = stages;
      this.#following = new Map(relations.map((relation) => [relation.id, relation]));
      this.#attach = new Attachment(this.#options, {
        source,
        relations,
        identity,
        wholeFrom,
        since: ({ id }) => this.#since.get(id) ?? 0n,
        onStreaming: () => this.#stageStale(relations, stages),
        progress: this.progress,
        now: this.#now,
        onChange: (relation) => this.#count(relation),
        onRetry: (error, waitMs) => this.#retrying(error, waitMs),
      });
      this.#error = null;
      this.#waiting = null;
      if (this.#state !== 'streaming' && this.#state !== 'paused') this.#move('ready');
      this.#everStreamed = true;
      log.info({ appliedLsn: formatLsn(appliedLsn), tables: relations.length }, 'streaming');
      const attachment = this.#attach;
      watch = new CatalogWatch({
        source,
        survey,
        everyMs: this.#options.catalogMs ?? CATALOG_MS,
        log,
        onChange: (tables) => {
          log.info({ tables }, 'the catalog has changed; attaching anew');
          attachment.leave().catch((error: unknown) => attachment.fail(error));
        },
      });
      const running = this.#attach.run();
      // A pause outlives a reconnect.
      if (this.#pauseWanted) {
        this.#move('pause');
        await Promise.race([this.#attach.pause(), running]);
      }
      await running;
    } finally {
      const attach = this.#attach;
      // Who holds or waits inside a stage is let go by the applier's end.
      const staging = this.#stages?.close();
      this.#stages = null;
      this.#attach = null;
      await attach?.close();
      // A look at the catalog may hang on a silent network; closing the source ends it.
      const watching = watch?.close();
      await source.close();
      await watching;
      await staging;
    }
  }

  /**
   * The tables that can be followed. Before anything was ever stored one that cannot is refused; later it stops alone, and is
   * snapshotted anew once it can be followed again.
   */
  #followable(survey: Survey, isolate: boolean): readonly Relation[] {
    const problems = new Map(survey.problems);
    const relations = survey.relations.filter((relation) => {
      try {
        this.#options.sink.check([relation]);
        return true;
      } catch (error) {
        if (!(error instanceof WalhouseError)) throw error;
        problems.set(relation.id, error);
        return false;
      }
    });
    const [first] = problems.values();
    if (first !== undefined && (!isolate || relations.length === 0)) throw first;
    for (const id of this.#tables.keys())
      if (!problems.has(id) && !relations.some((relation) => relation.id === id)) this.#tables.delete(id);
    for (const [id, error] of problems) {
      const report = this.#report(id);
      if (report.error?.message !== error.message)
        this.#options.log.error({ table: id, kind: error.kind }, error.message);
      report.state = 'stopped';
      report.error = error;
    }
    return relations;
  }

  #report(id: string): TableReport {
    const known = this.#tables.get(id);
    if (known !== undefined) return known;
    const report: TableReport = {
      state: 'waiting',
      rowsApplied: 0,
      snapshot: null,
      exactFrom: null,
      error: null,
    };
    this.#tables.set(id, report);
    return report;
  }

  /** Everything from nothing, before the stream begins; returns the position from which on it is applied. */
  async #snapshotFirst(source: Source, relations: readonly Relation[]): Promise<Lsn> {
    this.progress.restart();
    for (const { id } of relations)
      Object.assign(this.#report(id), { state: 'waiting', snapshot: null, exactFrom: null, error: null });
    const slot = await source.slot();
    this.#move('needs_snapshot');
    const snapshot = slot === null ? await source.createSlot() : await source.openSnapshot();
    try {
      await this.#snapshotAll(snapshot, relations);
    } finally {
      await snapshot.close();
    }
    failpoint('after_snapshots');
    this.#move('snapshot_done');
    // The stream begins at the slot's position, at or before the snapshot; what it repeats is in it.
    return slot === null ? snapshot.consistentPoint : slot.confirmedLsn;
  }

  /** Takes up what an earlier run left. Tables that need a new copy get it once the stream runs. */
  async #continue(
    source: Source,
    relations: readonly Relation[],
    checkpoint: Checkpoint,
    rebuilt: TableReport[],
  ): Promise<Lsn> {
    const { sink, log } = this.#options;
    for (const relation of relations) {
      const report = this.#report(relation.id);
      const attached = await sink.attach(relation);
      const { live, stale, snapshotLsn } = attached;
      report.state = live ? (stale ? 'resyncing' : 'streaming') : 'waiting';
      report.snapshot = null;
      report.error = null;
      report.exactFrom = live ? snapshotLsn : null;
      if (attached.rebuilt) rebuilt.push(report);
      this.#since.set(relation.id, live ? snapshotLsn : 'unsettled');
    }
    const slot = await source.slot();
    this.#refuseGap(checkpoint, slot?.confirmedLsn ?? null);
    const left: string[] = [];
    for (const { id, state } of await sink.loadTables()) {
      if (state === 'stopped' || relations.some((relation) => relation.id === id)) continue;
      left.push(id);
      if (this.#tables.has(id)) continue;
      log.warn(
        { table: id },
        'a table is not configured any more: its rows stay as they are and are not kept up to date',
      );
    }
    if (left.length > 0) await sink.markStale(left, 'unfit');
    return checkpoint.appliedLsn;
  }

  #stageStale(relations: readonly Relation[], stages: Stages): void {
    for (const relation of relations) {
      const report = this.#report(relation.id);
      if (report.state === 'waiting' || report.state === 'resyncing')
        stages.begin({ relation, report, live: report.state === 'resyncing' });
    }
  }

  /** A failure that is one table's: what is stored of it takes no more changes, and it is snapshotted anew beside the readers. */
  async #isolated(error: unknown): Promise<boolean> {
    if (!(error instanceof WalhouseError) || error.table === null || !this.#everStreamed) return false;
    if (error.kind !== 'schema_changed' && error.kind !== 'table_no_identity') return false;
    if (!this.#tables.has(error.table)) return false;
    this.#options.log.warn({ table: error.table, kind: error.kind }, error.message);
    try {
      await this.#options.sink.markStale([error.table], 'unfit');
    } catch (cause) {
      await this.#failed(cause);
    }
    return true;
  }

  #refuseGap(checkpoint: Checkpoint, confirmedLsn: Lsn | null): void {
    const { slot } = this.#options;
    if (confirmedLsn === null) {
      throw new WalhouseError('slot_missing', {
        what: `replication slot "${slot}" does not exist on ${checkpoint.identity.database}.`,
        why: `Changes since ${formatLsn(checkpoint.appliedLsn)} can no longer be read.`,
        fix: 'walhouse resync --all',
      });
    }
    if (confirmedLsn > checkpoint.appliedLsn) {
      throw new WalhouseError('slot_ahead', {
        what: `replication slot "${slot}" stands at ${formatLsn(confirmedLsn)}, ahead of what is stored, ${formatLsn(checkpoint.appliedLsn)}.`,
        why: 'It was made anew or moved by somebody else; the changes between can no longer be read.',
        fix: 'walhouse resync --all',
      });
    }
  }

  async #snapshotAll(snapshot: Snapshot, relations: readonly Relation[]): Promise<void> {
    const queue = [...relations];
    const workers = Array.from({ length: Math.min(SNAPSHOTS_AT_ONCE, queue.length) }, async () => {
      for (let relation = queue.shift(); relation !== undefined; relation = queue.shift()) {
        await this.#snapshotTable(snapshot, relation);
      }
    });
    const results = await Promise.allSettled(workers);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  async #snapshotTable(snapshot: Snapshot, relation: Relation): Promise<void> {
    const { sink, log } = this.#options;
    const { consistentPoint } = snapshot;
    const report = this.#report(relation.id);
    report.state = 'snapshotting';
    await copyTable({
      snapshot,
      relation,
      openWriter: () => sink.beginSnapshot(relation, consistentPoint),
      report,
      check: () => {
        if (this.#closing.signal.aborted) throw new Error('closing');
      },
      now: this.#now,
      log,
    });
    await sink.endSnapshot(relation, consistentPoint);
    this.#since.set(relation.id, consistentPoint);
    report.state = 'streaming';
    report.exactFrom = consistentPoint;
    failpoint('between_snapshots');
  }

  #count(relation: Relation): void {
    const report = this.#tables.get(relation.id);
    if (report !== undefined) report.rowsApplied += 1;
  }

  #retrying(error: WalhouseError | null, waitMs: number): void {
    this.#error = error;
    this.#waiting = error === null ? null : { error, untilMs: this.#now() + waitMs };
    if (error !== null) this.#move('fail_retry');
    else if (this.#state === 'retrying') {
      this.#move('recovered');
      if (this.#pauseWanted) this.#move('pause');
    }
  }

  async #failed(cause: unknown): Promise<void> {
    const error = asWalhouseError(cause);
    const retry = error.policy === 'retry';
    // At the first contact a person is watching: say it and leave. Waiting for another instance is no mistake.
    const standby = error.kind === 'slot_in_use';
    if (!this.#everStreamed && !this.#everStoodBy && !standby) throw error;
    this.#error = error;
    const backoffMs = retry ? this.#backoff.nextMs() : null;
    const waitMs = standby && backoffMs !== null ? Math.min(backoffMs, STANDBY_MS_MAX) : backoffMs;
    const waitsOn = standby && this.#state === 'standby';
    this.#everStoodBy ||= standby;
    this.#move(standby ? 'stand_by' : retry ? 'fail_retry' : 'fail_stop');
    this.#waiting = waitMs === null ? null : { error, untilMs: this.#now() + waitMs };
    if (!standby) this.#options.log.error({ kind: error.kind, waitMs, err: error }, error.message);
    else if (!waitsOn) this.#options.log.info({ kind: error.kind }, error.message);
    this.#wake = new AbortController();
    if (this.#closing.signal.aborted) return;
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

async function refuseHeldSlot(source: Source, slot: string): Promise<void> {
  if ((await source.slot())?.active !== true) return;
  throw new WalhouseError('slot_in_use', {
    what: `replication slot "${slot}" is read by another process.`,
    why: 'Only one reader at a time may have it.',
    fix: 'nothing, this instance takes over when the other one goes; or end the other reader',
  });
}

function refuseOtherCluster(checkpoint: Checkpoint | null, identity: SourceIdentity): void {
  if (checkpoint === null) return;
  const before = checkpoint.identity;
  if (before.systemIdentifier === identity.systemIdentifier && before.database === identity.database) return;
  throw new WalhouseError('source_cluster_changed', {
    what: `the source is cluster ${identity.systemIdentifier}, database ${identity.database}; what is stored came from cluster ${before.systemIdentifier}, database ${before.database}.`,
    why: 'Positions of one cluster mean nothing in another, so changes would be lost or mixed.',
    fix: 'point source.url at the former cluster, or run walhouse resync --all to begin again with this one',
  });
}

function asWalhouseError(cause: unknown): WalhouseError {
  if (cause instanceof WalhouseError) return cause;
  return new WalhouseError('internal', {
    what: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause),
    why: 'This is a mistake in Walhouse itself; it stopped rather than guess.',
    fix: 'restart walhouse; if it comes again, report it with this message and the log before it',
    cause,
  });
}

function onAbort(signal: AbortSignal, then: () => void): void {
  if (signal.aborted) then();
  else signal.addEventListener('abort', then, { once: true });
}
