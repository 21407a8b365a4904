import { HoldInterrupted } from './applier.js';
import { Attachment, type AttachmentOptions } from './attachment.js';
import { Backoff, sleep } from './backoff.js';
import { WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import { formatLsn, type Lsn } from './lsn.js';
import { Progress } from './progress.js';
import type { Relation } from './relation.js';
import type { Checkpoint, TableState } from './sink.js';
import type { Snapshot, Source, SourceIdentity } from './source.js';
import { next, type Event, type State } from './state.js';

export interface ReplicatorOptions extends AttachmentOptions {
  /** Connects to the source; called again after a failure. */
  readonly openSource: () => Promise<Source>;
  readonly now?: () => number;
  readonly backoff?: Backoff;
}

export interface TableReport {
  state: TableState | 'waiting';
  rowsApplied: number;
  /** Rows read so far and the planner's guess of all, while the snapshot runs. */
  snapshot: { rows: number; estimate: number; startedAtMs: number } | null;
  snapshotLsn: Lsn | null;
  error: WalhouseError | null;
}

/** A pass over one table or the whole, waiting for something; shown in status with its reason. */
export interface Waiting {
  readonly error: WalhouseError;
  readonly untilMs: number;
}

/** How many tables are snapshotted at once. */
const SNAPSHOTS_AT_ONCE = 2;
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
    const { durable } = this.progress;
    if (durable === null || this.#tables.size === 0 || durable < this.consistentFrom) return false;
    for (const table of this.#tables.values()) if (table.state !== 'streaming') return false;
    return true;
  }

  /** The newest of the positions that tables were snapshotted at: before it, some table is ahead of the others. */
  get consistentFrom(): Lsn {
    let newest = 0n;
    for (const { snapshotLsn } of this.#tables.values()) {
      if (snapshotLsn !== null && snapshotLsn > newest) newest = snapshotLsn;
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
    if (this.#state !== 'starting' && this.#state !== 'standby') this.#move('attempt');
    const source = await this.#options.openSource();
    try {
      const identity = await source.identify();
      // A standby touches nothing, on either side: its configuration may be another one.
      await refuseHeldSlot(source, this.#options.slot);
      if (this.#state === 'standby') this.#move('attempt');
      await sink.open();
      const checkpoint = await sink.loadCheckpoint();
      refuseOtherCluster(checkpoint, identity);
      const relations = await source.relations();
      sink.check(relations);
      await source.ensurePublication();
      const appliedLsn = await this.#prepare(source, relations, checkpoint);
      if (this.#closing.signal.aborted) return;
      this.progress.advance(appliedLsn, checkpoint?.committedAtUs ?? null);
      const wholeFrom = await source.currentLsn();
      // From here to the stream there is no wait: whoever closes later finds the attachment.
      if (this.#closing.signal.aborted) return;
      this.#attach = new Attachment(this.#options, {
        source,
        relations,
        identity,
        wholeFrom,
        progress: this.progress,
        now: this.#now,
        onChange: (relation) => this.#count(relation),
        onRetry: (error, waitMs) => this.#retrying(error, waitMs),
      });
      this.#error = null;
      this.#waiting = null;
      if (this.#state !== 'streaming') this.#move('ready');
      this.#everStreamed = true;
      log.info({ appliedLsn: formatLsn(appliedLsn), tables: relations.length }, 'streaming');
      const running = this.#attach.run();
      // A pause outlives a reconnect.
      if (this.#pauseWanted) {
        this.#move('pause');
        await Promise.race([this.#attach.pause(), running]);
      }
      await running;
    } finally {
      const attach = this.#attach;
      this.#attach = null;
      await attach?.close();
      await source.close();
    }
  }

  /** Snapshots what has to be, and returns the position from which on everything is applied. */
  async #prepare(
    source: Source,
    relations: readonly Relation[],
    checkpoint: Checkpoint | null,
  ): Promise<Lsn> {
    const { sink } = this.#options;
    const stored = new Map((await sink.loadTables()).map((table) => [table.id, table]));
    const fresh: Relation[] = [];
    for (const relation of relations) {
      const known = stored.get(relation.id);
      const complete = known?.state === 'streaming' && checkpoint !== null;
      this.#tables.set(relation.id, {
        state: complete ? 'streaming' : 'waiting',
        rowsApplied: this.#tables.get(relation.id)?.rowsApplied ?? 0,
        snapshot: null,
        snapshotLsn: complete ? known.snapshotLsn : null,
        error: null,
      });
      if (complete) await sink.attach(relation);
      else fresh.push(relation);
    }
    const slot = await source.slot();
    if (checkpoint !== null) this.#refuseGap(checkpoint, slot?.confirmedLsn ?? null);
    if (checkpoint !== null && fresh.length === 0) return checkpoint.appliedLsn;
    this.#move('needs_snapshot');
    const snapshot = slot === null ? await source.createSlot() : await source.openSnapshot();
    try {
      await this.#snapshotAll(snapshot, fresh);
    } finally {
      await snapshot.close();
    }
    failpoint('after_snapshots');
    this.#move('snapshot_done');
    if (checkpoint !== null) return checkpoint.appliedLsn;
    // The stream begins at the slot's position, at or before the snapshot; what it repeats has lower versions.
    return slot === null ? snapshot.consistentPoint : slot.confirmedLsn;
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
    const report = this.#tables.get(relation.id)!;
    const estimate = Math.max(0, await snapshot.estimateRows(relation));
    const startedAtMs = this.#now();
    report.state = 'snapshotting';
    report.snapshot = { rows: 0, estimate, startedAtMs };
    const writer = await sink.beginSnapshot(relation, snapshot.consistentPoint);
    let loggedAtMs = startedAtMs;
    await snapshot.read(relation, {
      onRow: (row) => writer.add(row),
      onChunk: async () => {
        if (this.#closing.signal.aborted) throw new Error('closing');
        await writer.flush(false);
        failpoint('mid_snapshot');
        report.snapshot = { rows: writer.rows, estimate, startedAtMs };
        if (this.#now() - loggedAtMs < 5_000) return;
        loggedAtMs = this.#now();
        log.info({ table: relation.id, ...snapshotProgress(report.snapshot, loggedAtMs) }, 'snapshot runs');
      },
    });
    await writer.flush(true);
    await sink.endSnapshot(relation, snapshot.consistentPoint);
    report.state = 'streaming';
    report.rowsApplied += writer.rows;
    report.snapshot = null;
    report.snapshotLsn = snapshot.consistentPoint;
    failpoint('between_snapshots');
    log.info(
      { table: relation.id, rows: writer.rows, ms: this.#now() - startedAtMs },
      'snapshot of a table is complete',
    );
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

/** Percent and time left of a running snapshot; both null while the planner's estimate says nothing. */
export function snapshotProgress(
  snapshot: { rows: number; estimate: number; startedAtMs: number },
  nowMs: number,
): { rows: number; percent: number | null; secondsLeft: number | null } {
  const { rows, estimate } = snapshot;
  if (estimate <= 0 || rows === 0) return { rows, percent: null, secondsLeft: null };
  const share = Math.min(0.999, rows / estimate);
  const elapsed = (nowMs - snapshot.startedAtMs) / 1000;
  return {
    rows,
    percent: Math.round(share * 1000) / 10,
    secondsLeft: Math.round((elapsed / share) * (1 - share)),
  };
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
