import { hostname } from 'node:os';
import type { ClickHouseClient } from '@clickhouse/client';
import { sleep } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import { failpoint } from '../pipeline/failpoint.js';
import type { Log } from '../pipeline/log.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import {
  QUESTION_MS,
  type Attached,
  type Batch,
  type Checkpoint,
  type RepairWriter,
  type Sink,
  type SnapshotWriter,
  type Stored,
  type StoredTable,
} from '../pipeline/sink.js';
import type { Span } from '../pipeline/tracer.js';
import { resume, type Moment } from './alteration.js';
import { auditTable } from './audit.js';
import { RowBatch } from './batch.js';
import { BatchStore } from './batch-store.js';
import { Checkpoints } from './checkpoint.js';
import { nowOf } from './clock.js';
import { Copies } from './copies.js';
import { ErasePositions } from './erase-positions.js';
import { createDatabases, refuseOldServer } from './ground.js';
import { definitionOf } from './evolution.js';
import { fit } from './fitting.js';
import { objectsOf, parseMart, type MartFiles } from './mart-files.js';
import { forgetMaskedOtherwise } from './masked-history.js';
import { Marts } from './marts.js';
import { databasesFor, Names, type Databases } from './names.js';
import { isNotThere, Ownership } from './ownership.js';
import { PeoplesViews } from './peoples-views.js';
import { RepairRows } from './repair-rows.js';
import type { TablePlan } from './plan.js';
import { Plans, type PlansOptions } from './plans.js';
import { Quarantine } from './quarantine.js';
import { BufferPool } from './row-buffer.js';
import { Server } from './server.js';
import { SnapshotRows } from './snapshot-rows.js';
import { Stage } from './stage.js';
import { StoredTables } from './stored-tables.js';
import { Switching } from './switching.js';
import { nameTaken, takenNames } from './taken-names.js';
import { formatMicros } from './times.js';
import { rememberColumns } from './versions.js';

export interface SinkOptions extends PlansOptions {
  /** From `createSinkClient`; stays the caller's to close. */
  readonly client: ClickHouseClient;
  /** The database that people query; `_landing` and `_audit` stand beside it. */
  readonly database: string;
  readonly marts: readonly MartFiles[];
  readonly log: Log;
  /** How long one insert may take. */
  readonly insertTimeoutMs?: number;
  /** How people find this process, e.g. `db1:4711 http://127.0.0.1:8080`. */
  readonly instance?: string;
  /** The same for sinks that one process uses one after the other, and for no others. */
  readonly token?: string | undefined;
}

/** The ClickHouse side. Throws `mart_invalid`, `table_name_collision` and `config_invalid` before it talks to any server. */
export function openSink(options: SinkOptions): Sink {
  return new ClickHouseSink(options);
}

class ClickHouseSink implements Sink {
  readonly #options: SinkOptions;
  readonly #server: Server;
  /** For what is asked in nobody's name. */
  readonly #asking: Server;
  readonly #ownership: Ownership;
  readonly #databases: Databases;
  readonly #marts: Marts;
  readonly #checkpoints: Checkpoints;
  readonly #stored: StoredTables;
  readonly #erased: ErasePositions;
  readonly #quarantine: Quarantine;
  readonly #views: PeoplesViews;
  readonly #pool = new BufferPool();
  readonly #plans: Plans;
  readonly #copies = new Copies();
  readonly #switching: Switching;
  readonly #batches: BatchStore;
  /** Tables whose views have been looked after since the process began. */
  readonly #shown = new Set<string>();

  constructor(options: SinkOptions) {
    this.#options = options;
    this.#server = new Server(options.client, options.insertTimeoutMs);
    this.#asking = new Server(options.client);
    this.#databases = databasesFor(options.database);
    const servers = { server: this.#server, asking: this.#asking };
    const instance = options.instance ?? `${hostname()}:${process.pid}`;
    this.#ownership = new Ownership(servers, this.#databases, instance, options.log, options.token);
    this.#server.writeAs(this.#ownership);
    const marts = options.marts.map((files) =>
      parseMart(files, this.#databases, (id) => options.tables.get(id)?.history === true),
    );
    const names = new Names();
    for (const mart of marts) {
      for (const object of objectsOf(mart)) names.reserve(object, `mart "${mart.name}"`);
      for (const { id } of mart.sources) if (!options.tables.has(id)) throw missingSource(mart.name, id);
    }
    this.#marts = new Marts(this.#server, this.#ownership, this.#databases, marts, options.log, (ids) =>
      this.#withdraw(ids),
    );
    this.#checkpoints = new Checkpoints(this.#server, this.#databases.landing);
    this.#stored = new StoredTables(this.#server, this.#databases.landing);
    this.#erased = new ErasePositions(this.#server, this.#databases.landing);
    this.#quarantine = new Quarantine(this.#server, this.#databases.landing, this.#ownership);
    this.#views = new PeoplesViews(this.#server, this.#ownership, this.#databases);
    this.#plans = new Plans(options, this.#databases, names, this.#marts);
    this.#batches = new BatchStore(this.#server, this.#copies, this.#quarantine);
    this.#switching = new Switching({
      server: this.#server,
      ownership: this.#ownership,
      databases: this.#databases,
      marts: this.#marts,
      stored: this.#stored,
      quarantine: this.#quarantine,
      views: this.#views,
      plans: this.#plans,
      copies: this.#copies,
      pool: this.#pool,
      batches: this.#batches,
    });
  }

  async open(): Promise<void> {
    this.#plans.forget();
    this.#copies.forget();
    await refuseOldServer(this.#server);
    await createDatabases(this.#server, this.#wantedDatabases());
    await this.#ownership.claim();
    await this.#checkpoints.open();
    await this.#stored.open();
    await this.#erased.open();
    await this.#marts.open();
    await this.#quarantine.open();
  }

  #wantedDatabases(): string[] {
    const { tables, marts } = this.#options;
    const { views, landing, audit } = this.#databases;
    const history = [...tables.values()].some((table) => table.history);
    return [views, landing, ...(history || marts.length > 0 ? [audit] : [])];
  }

  loadCheckpoint(): Promise<Checkpoint | null> {
    return this.#checkpoints.load();
  }

  async saveCheckpoint(checkpoint: Checkpoint, span: Span | null = null): Promise<void> {
    // Once a position is stored, nothing of before may come back into tables: rows may be erased below it.
    await this.#ownership.renew();
    await this.#checkpoints.save(this.#ownership.epoch, checkpoint, span);
  }

  async stored(): Promise<Stored> {
    try {
      const owner = await this.#ownership.find();
      // The owner first: a checkpoint that it saved before it lost its place is still true of what is stored.
      const found = owner === null ? null : await this.#checkpoints.find();
      return { owner, checkpoint: found === null ? null : { ...found.checkpoint, ageMs: found.ageMs } };
    } catch (error) {
      if (isNotThere(error)) return { owner: null, checkpoint: null };
      throw error;
    }
  }

  loadTables(): Promise<readonly StoredTable[]> {
    return this.#stored.load();
  }

  check(relations: readonly Relation[]): void {
    for (const relation of relations) this.#plans.make(relation);
  }

  async taken(relations: readonly Relation[]): Promise<ReadonlyMap<string, WalhouseError>> {
    const tables = relations.map(({ schema, name, id }) => ({
      schema,
      name,
      id,
      history: this.#options.tables.get(id)?.history ?? false,
    }));
    const names = await takenNames(this.#server, this.#databases, tables);
    return new Map([...names].map(([id, object]) => [id, nameTaken(id, object, id)]));
  }

  async openStage(relation: Relation, live: boolean): Promise<void> {
    const plan = this.#plans.make(relation);
    this.#copies.begins(plan.id);
    await this.#switching.dropStage(plan.id);
    const stage = new Stage(relation, plan, this.#databases, live);
    if (!live) {
      this.#copies.complete.delete(plan.id);
      // What people read is not the table any more, whatever becomes of the new copy.
      await this.#stored.update(plan.id, {
        state: 'snapshotting',
        definition: '',
        stamp: this.#plans.stampOf(relation),
        altered: '',
      });
      await this.#quarantine.clear(plan.id);
    }
    await forgetMaskedOtherwise(plan, {
      server: this.#server,
      ownership: this.#ownership,
      databases: this.#databases,
    });
    await stage.create(this.#ownership, this.#databases);
    if (plan.history) await this.#server.define(auditTable(plan), `preparing ${plan.id} for its snapshot`);
    this.#copies.staged.set(plan.id, { stage, marts: await this.#marts.openStages(plan) });
  }

  async beginSnapshot(relation: Relation, consistentPoint: Lsn): Promise<SnapshotWriter> {
    const plan = this.#plans.make(relation);
    if (this.#copies.stage(plan.id)?.relation !== relation) await this.openStage(relation, false);
    const { stage } = this.#copies.staged.get(plan.id)!;
    // Whose changes went on being recorded need not be told where it stands.
    return this.#snapshotRows(stage.staged, consistentPoint, 0, !stage.live, stage.takenAt);
  }

  copyOf(relation: Relation): number {
    return this.#copies.life(relation.id);
  }

  async beginRepair(relation: Relation, consistentPoint: Lsn): Promise<RepairWriter> {
    const plan = this.#plans.of(relation);
    return new RepairRows({
      plan,
      server: this.#server,
      rows: await this.#snapshotRows(plan, consistentPoint, 1, true),
      martImages: (keys) => this.#marts.images(plan, keys),
    });
  }

  stageSpoilt(relation: Relation): boolean {
    return this.#copies.stage(relation.id)?.spoilt ?? true;
  }

  stageHasMarts(relation: Relation): boolean {
    return (this.#copies.staged.get(relation.id)?.marts.length ?? 0) > 0;
  }

  endSnapshot(relation: Relation, consistentPoint: Lsn): Promise<void> {
    return this.#switching.perform(relation, consistentPoint);
  }

  async attach(relation: Relation, moment: Moment): Promise<Attached> {
    const today = this.#plans.make(relation);
    this.#copies.begins(today.id);
    const known = await this.#switching.finish(await this.#stored.find(today.id), today);
    const fitting = known.state === 'streaming' || known.state === 'resync';
    const fitted = fitting
      ? await fit(today, known, moment, {
          server: this.#server,
          databases: this.#databases,
          stamp: this.#plans.stampOf(relation),
          isRead: (column) => this.#marts.reads(today, column),
          quarantined: this.quarantined().get(today.id) ?? 0,
          log: this.#options.log,
        })
      : null;
    if (fitted === null) {
      const { snapshotLsn } = known;
      // What comes until its new copy is there passes it over: it must never be taken for a fit one again, whatever its columns become.
      if (fitting)
        await this.#stored.update(today.id, { state: 'snapshotting', definition: '', altered: '' });
      return { live: false, stale: true, rebuilt: false, snapshotLsn, since: snapshotLsn, evolution: null };
    }
    const { plan, altered } = fitted;
    this.#plans.set(relation, plan);
    const doing = `altering ${plan.id}`;
    const tables = plan.history ? [plan.landing, plan.versions] : [plan.landing];
    for (const table of tables)
      if (fitted.first !== null) await this.#ownership.alter(table, fitted.first, doing);
    if ((fitted.first ?? fitted.last) !== null) failpoint('while_altering');
    const rebuilt = await this.#switching.show(plan);
    // What is left of a dropped column goes part by part, after merges that are under way.
    for (const table of tables)
      if (fitted.last !== null) await this.#ownership.alter(table, fitted.last, doing, { alter_sync: '0' });
    if (plan.history && (fitted.first ?? fitted.last) !== null)
      await this.#ownership.alter(plan.versions, rememberColumns(plan), doing);
    const definition = JSON.stringify(definitionOf(plan));
    const stamp = this.#plans.stampOf(relation);
    if (!this.#shown.has(plan.id)) await this.#views.dropAsides(plan);
    this.#shown.add(plan.id);
    if (known.definition !== definition || known.stamp !== stamp || known.altered !== altered)
      await this.#stored.update(plan.id, { definition, stamp, altered });
    const { since, evolution } = resume(plan, altered, moment.applied);
    const erased = await this.#erased.find(plan.id);
    const snapshotLsn = erased > known.snapshotLsn ? erased : known.snapshotLsn;
    return {
      live: true,
      stale: known.state === 'resync',
      rebuilt,
      snapshotLsn,
      since: since > snapshotLsn ? since : snapshotLsn,
      evolution,
    };
  }

  async noteStamp(relation: Relation): Promise<void> {
    await this.#stored.update(relation.id, { stamp: this.#plans.stampOf(relation) });
  }

  async markStale(ids: readonly string[], copy: 'fit' | 'unfit'): Promise<void> {
    for (const known of await this.#stored.load()) {
      if (!ids.includes(known.id)) continue;
      if (copy === 'unfit') await this.#stored.update(known.id, { state: 'stopped' });
      else if (known.state === 'streaming') await this.#stored.update(known.id, { state: 'resync' });
    }
  }

  async forgetCheckpoint(): Promise<void> {
    await this.#checkpoints.forget(this.#ownership.epoch);
    await this.#erased.forget(this.#ownership);
    // Those who have just read it may still ask at it; what they ask of is about to be replaced.
    await sleep(QUESTION_MS);
  }

  openBatch(): Batch {
    return new RowBatch((relation) => this.#plans.of(relation), this.#pool);
  }

  async store(batch: Batch, span: Span | null = null): Promise<void> {
    if (!(batch instanceof RowBatch)) throw new Error('not a batch of this sink');
    await this.#batches.store(batch, span);
  }

  quarantined(): ReadonlyMap<string, number> {
    return this.#quarantine.counts;
  }

  breakOff(): void {
    this.#server.breakOff();
    this.#asking.breakOff();
  }

  close(): Promise<void> {
    this.#server.close();
    this.#asking.close();
    return Promise.resolve();
  }

  async #snapshotRows(
    plan: TablePlan,
    consistentPoint: Lsn,
    step: number,
    recorded: boolean,
    takenAt = formatMicros(BigInt(Date.now()) * 1000n),
  ): Promise<SnapshotRows> {
    const { retention } = plan;
    const cut = retention === null ? undefined : { ...retention, moment: await nowOf(this.#server) };
    return new SnapshotRows({
      plan,
      server: this.#server,
      quarantine: this.#quarantine,
      pool: this.#pool,
      consistentPoint,
      takenAt,
      recorded,
      step,
      cut,
    });
  }

  /** Takes tables out of those that are exact, before a mart over them is made anew, and waits until everybody has heard it. */
  async #withdraw(ids: readonly string[]): Promise<void> {
    const found = await this.#checkpoints.find();
    if (found === null) return;
    const { checkpoint, ageMs } = found;
    const { lagMs } = checkpoint;
    await this.#checkpoints.save(this.#ownership.epoch, {
      ...checkpoint,
      exact: checkpoint.exact.filter((id) => !ids.includes(id)),
      lagMs: lagMs === null ? null : Math.round(lagMs + ageMs),
    });
    await sleep(QUESTION_MS);
  }
}

function missingSource(mart: string, id: string): WalhouseError {
  return new WalhouseError('mart_invalid', {
    what: `mart "${mart}" is made from ${id}, which is not among tables.`,
    why: 'It would stay empty.',
    fix: `add ${id} to tables in walhouse.yaml, or leave ${mart} out of marts`,
  });
}
