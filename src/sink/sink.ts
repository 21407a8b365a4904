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
import { AUDIT_COLUMNS, auditTable } from './audit.js';
import { RowBatch, type TableRows } from './batch.js';
import { Checkpoints } from './checkpoint.js';
import { nowOf } from './clock.js';
import { ErasePositions } from './erase-positions.js';
import { createDatabases, refuseOldServer } from './ground.js';
import { quoteString } from './identifier.js';
import { definitionOf } from './evolution.js';
import { fit } from './fitting.js';
import { complete } from './incomplete.js';
import { hideBelow, landingTable } from './landing.js';
import { objectsOf, parseMart, type MartFiles } from './mart-files.js';
import type { MartStage } from './mart-stage.js';
import { maskedStamp, type Masker } from './mask.js';
import { forgetMaskedOtherwise } from './masked-history.js';
import { Marts } from './marts.js';
import { databasesFor, Names, type Databases } from './names.js';
import { isNotThere, Ownership } from './ownership.js';
import { PeoplesViews } from './peoples-views.js';
import { RepairRows } from './repair-rows.js';
import { planTable, type ColumnOptions, type TablePlan } from './plan.js';
import { Quarantine } from './quarantine.js';
import type { Retention } from './retention.js';
import { BufferPool } from './row-buffer.js';
import { Server } from './server.js';
import { SnapshotRows } from './snapshot-rows.js';
import { Stage, nextName, obsoleteBelow } from './stage.js';
import { StoredTables, type KnownTable } from './stored-tables.js';
import { nameTaken, takenNames } from './taken-names.js';
import { formatMicros } from './times.js';
import { versionColumns } from './version-rows.js';
import { endBelow, nextVersionsName, rememberColumns, versionsTable } from './versions.js';

export interface SinkTable {
  readonly retention?: Retention | undefined;
  /** Every change also goes to the audit trail. */
  readonly history: boolean;
  /** ClickHouse types that the configuration chose, by column. */
  readonly columns?: ColumnOptions | undefined;
  /** Columns of which nothing is kept but a hash; `SinkOptions.masker` must be there then. */
  readonly mask?: readonly string[] | undefined;
}

export interface SinkOptions {
  /** From `createSinkClient`; stays the caller's to close. */
  readonly client: ClickHouseClient;
  /** The database that people query; `_landing` and `_audit` stand beside it. */
  readonly database: string;
  /** By relation id, `schema.name`. */
  readonly tables: ReadonlyMap<string, SinkTable>;
  readonly marts: readonly MartFiles[];
  readonly log: Log;
  readonly masker?: Masker | undefined;
  /** How long one insert may take. */
  readonly insertTimeoutMs?: number;
  /** How people find this process, e.g. `db1:4711 http://127.0.0.1:8080`. */
  readonly instance?: string;
  /** The same for sinks that one process uses one after the other, and for no others. */
  readonly token?: string | undefined;
}

/** How many tables of one batch are inserted at once. */
const INSERTS_AT_ONCE = 2;

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
  readonly #names = new Names();
  readonly #marts: Marts;
  readonly #checkpoints: Checkpoints;
  readonly #stored: StoredTables;
  readonly #erased: ErasePositions;
  readonly #quarantine: Quarantine;
  readonly #views: PeoplesViews;
  readonly #pool = new BufferPool();
  /** By relation as it was attached or snapshotted. */
  readonly #plans = new Map<Relation, TablePlan>();
  /** Tables whose views have been looked after since the process began. */
  readonly #shown = new Set<string>();
  readonly #complete = new Map<string, TablePlan>();
  #making: Promise<unknown> = Promise.resolve();
  /** See `copyOf`. */
  readonly #lives = new Map<string, number>();
  #lastLife = 0;
  readonly #stages = new Map<string, { readonly stage: Stage; readonly marts: readonly MartStage[] }>();

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
    for (const mart of marts) {
      for (const object of objectsOf(mart)) this.#names.reserve(object, `mart "${mart.name}"`);
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
  }

  async open(): Promise<void> {
    this.#plans.clear();
    this.#complete.clear();
    this.#stages.clear();
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

  saveCheckpoint(checkpoint: Checkpoint, span: Span | null = null): Promise<void> {
    return this.#checkpoints.save(this.#ownership.epoch, checkpoint, span);
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
    for (const relation of relations) this.#plan(relation);
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
    const plan = this.#plan(relation);
    this.#begins(plan.id);
    await this.#dropStage(plan.id);
    const stage = new Stage(relation, plan, this.#databases, live);
    if (!live) {
      this.#complete.delete(plan.id);
      // What people read is not the table any more, whatever becomes of the new copy.
      await this.#stored.update(plan.id, {
        state: 'snapshotting',
        definition: '',
        stamp: this.#stampOf(relation),
        altered: '',
      });
      await this.#quarantine.clear(plan.id);
    }
    await forgetMaskedOtherwise(plan, {
      server: this.#server,
      ownership: this.#ownership,
      databases: this.#databases,
    });
    await stage.create(this.#server, this.#ownership, this.#databases);
    if (plan.history) await this.#server.define(auditTable(plan), `preparing ${plan.id} for its snapshot`);
    this.#stages.set(plan.id, { stage, marts: await this.#marts.openStages(plan) });
  }

  async beginSnapshot(relation: Relation, consistentPoint: Lsn): Promise<SnapshotWriter> {
    const plan = this.#plan(relation);
    if (this.#stages.get(plan.id)?.stage.relation !== relation) await this.openStage(relation, false);
    const { stage } = this.#stages.get(plan.id)!;
    // Whose changes went on being recorded need not be told where it stands.
    return this.#snapshotRows(stage.staged, consistentPoint, 0, !stage.live, stage.takenAt);
  }

  copyOf(relation: Relation): number {
    return this.#lives.get(relation.id) ?? 0;
  }

  async beginRepair(relation: Relation, consistentPoint: Lsn): Promise<RepairWriter> {
    const plan = this.#planOf(relation);
    return new RepairRows({
      plan,
      server: this.#server,
      rows: await this.#snapshotRows(plan, consistentPoint, 1, true),
      martImages: (keys) => this.#marts.images(plan, keys),
    });
  }

  stageSpoilt(relation: Relation): boolean {
    return this.#stages.get(relation.id)?.stage.spoilt ?? true;
  }

  stageHasMarts(relation: Relation): boolean {
    return (this.#stages.get(relation.id)?.marts.length ?? 0) > 0;
  }

  async endSnapshot(relation: Relation, consistentPoint: Lsn): Promise<void> {
    const { stage, marts } = this.#stages.get(relation.id)!;
    const { plan } = stage;
    const doing = `showing the new copy of ${plan.id}`;
    this.#begins(plan.id);
    stage.filled = true;
    await stage.settle(this.#server, this.#pool, this.#quarantine, consistentPoint);
    if (!stage.live) await this.#marts.forgetBelow(marts, obsoleteBelow(consistentPoint));
    await stage.settleHistory(this.#server, this.#databases, consistentPoint);
    const definition = JSON.stringify(definitionOf(plan));
    const next = await this.#identity(nextName(plan));
    const snapshotLsn = consistentPoint;
    await this.#stored.update(plan.id, {
      state: 'switching',
      snapshotLsn,
      switchingTo: `${next} ${definition}`,
    });
    failpoint('before_switch');
    await this.#marts.switchStages(marts);
    failpoint('between_switches');
    const there = await this.#identity(plan.name);
    if (there !== null && !stage.live) await this.#views.showAside(stage);
    failpoint('shown_aside');
    if (plan.history && !stage.live) {
      // Both at once: what they hold belongs together.
      if (there === null) await this.#server.define(landingTable(plan), doing);
      await this.#server.define(versionsTable(plan), doing);
      await this.#ownership.exchangeAll(
        [
          [stage.staged.landing, plan.landing],
          [stage.staged.versions, plan.versions],
        ],
        doing,
      );
    } else if (there === null) await this.#ownership.rename(stage.staged.landing, plan.landing, doing);
    else await this.#ownership.exchange(stage.staged.landing, plan.landing, doing);
    // From here on batches go to the readers' name alone.
    this.#stages.delete(plan.id);
    this.#plans.set(relation, plan);
    this.#complete.set(plan.id, plan);
    await this.#marts.resume(marts, this.#complete);
    await this.#show(plan);
    failpoint('after_switch');
    await this.#quarantine.clear(plan.id, obsoleteBelow(consistentPoint));
    await this.#stored.update(plan.id, {
      state: 'streaming',
      snapshotLsn,
      definition,
      switchingTo: '',
      altered: '',
    });
    await this.#dropCopies(plan, doing);
    await this.#views.dropAsides(plan);
    await this.#marts.dropStages(marts);
  }

  async attach(relation: Relation, moment: Moment): Promise<Attached> {
    const today = this.#plan(relation);
    this.#begins(today.id);
    const known = await this.#finishSwitch(await this.#stored.find(today.id), today);
    const fitting = known.state === 'streaming' || known.state === 'resync';
    const fitted = fitting
      ? await fit(today, known, moment, {
          server: this.#server,
          databases: this.#databases,
          stamp: this.#stampOf(relation),
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
    const rebuilt = await this.#show(plan);
    // What is left of a dropped column goes part by part, after merges that are under way.
    for (const table of tables)
      if (fitted.last !== null) await this.#ownership.alter(table, fitted.last, doing, { alter_sync: '0' });
    if (plan.history && (fitted.first ?? fitted.last) !== null)
      await this.#ownership.alter(plan.versions, rememberColumns(plan), doing);
    const definition = JSON.stringify(definitionOf(plan));
    const stamp = this.#stampOf(relation);
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
    await this.#stored.update(relation.id, { stamp: this.#stampOf(relation) });
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
    return new RowBatch((relation) => this.#planOf(relation), this.#pool);
  }

  async store(batch: Batch, span: Span | null = null): Promise<void> {
    if (!(batch instanceof RowBatch)) throw new Error('not a batch of this sink');
    span?.note({ 'walhouse.tables': Array.from(batch.tables, ({ plan }) => plan.id) });
    await this.#quarantine.add(batch.quarantined);
    const queue = [...batch.tables];
    let first = true;
    const workers = Array.from({ length: Math.min(INSERTS_AT_ONCE, queue.length) }, async () => {
      for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
        await this.#storeTable(batch, table, span);
        if (first) failpoint('between_tables');
        first = false;
      }
    });
    const results = await Promise.allSettled(workers);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    if (batch.truncation !== null) {
      const { plan, version, committedAt } = batch.truncation;
      this.#begins(plan.id);
      failpoint('before_truncate');
      const { xid } = batch.truncation;
      for (const copy of this.#versionsOf(plan))
        await this.#server.longCommand(
          endBelow(copy, { version, committedAt, op: 't', xid }),
          `truncating the history of ${plan.id}`,
        );
      for (const copy of this.#copies(plan))
        await this.#server.longCommand(hideBelow(copy, version, committedAt), `truncating ${plan.id}`);
      this.#stages.get(plan.id)?.stage.truncated();
      // A row put back later must not outlive the truncate that it came before.
      await this.#quarantine.clear(plan.id, version);
    }
    batch.release();
  }

  quarantined(): ReadonlyMap<string, number> {
    return this.#quarantine.counts;
  }

  close(): Promise<void> {
    this.#server.close();
    this.#asking.close();
    return Promise.resolve();
  }

  async #storeTable(
    batch: RowBatch,
    { plan, out, incomplete, audit, versions }: TableRows,
    span: Span | null,
  ): Promise<void> {
    const stage = this.#stages.get(plan.id)?.stage;
    if (incomplete.length > 0) {
      if (stage !== undefined && !stage.live) stage.postpone(incomplete);
      else if (stage !== undefined || this.#complete.has(plan.id)) {
        const from = out.at;
        const refused = await complete(plan, out, incomplete, this.#server);
        versions?.copyAll(out, from, 'u');
        batch.quarantined.push(...refused);
        await this.#quarantine.add(refused);
      }
      // From here on they are in the batch's own bytes, should it have to be stored again.
      incomplete.length = 0;
    }
    const doing = `storing rows of ${plan.id}`;
    if (audit !== null && audit.out.rows > 0)
      await this.#server.insert(plan.auditRows, AUDIT_COLUMNS, audit.out, doing, span);
    if (versions !== null && versions.out.rows > 0)
      for (const copy of this.#versionsOf(plan))
        await this.#server.insert(copy.versions, versionColumns(plan), versions.out, doing, span);
    if (out.rows === 0) return;
    for (const { landing } of this.#copies(plan))
      await this.#server.insert(landing, plan.insertColumns, out, doing, span);
  }

  /** The copy of a table that people read is another one from now on. */
  #begins(id: string): void {
    this.#lives.set(id, ++this.#lastLife);
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

  /** Where the rows of a table go now: what people read, the stage beside it, or both. */
  #copies(plan: TablePlan): TablePlan[] {
    const stage = this.#stages.get(plan.id)?.stage;
    // Neither: its stage is yet to be opened, and the snapshot that follows has what comes until then.
    if (stage === undefined) return this.#complete.has(plan.id) ? [plan] : [];
    return stage.live ? [plan, stage.staged] : [stage.staged];
  }

  /** Where its history goes: a live stage has none of its own. */
  #versionsOf(plan: TablePlan): TablePlan[] {
    return plan.history ? this.#copies(plan).slice(0, 1) : [];
  }

  /** Drops what stood beside the copies that people read. */
  async #dropCopies(plan: TablePlan, doing: string): Promise<void> {
    const { landing } = this.#databases;
    await this.#ownership.drop(landing, nextName(plan), doing);
    if (plan.history) await this.#ownership.drop(landing, nextVersionsName(plan), doing);
  }

  async #dropStage(id: string): Promise<void> {
    const before = this.#stages.get(id);
    if (before === undefined) return;
    this.#stages.delete(id);
    await this.#marts.dropStages(before.marts);
    await this.#dropCopies(before.stage.plan, `dropping a copy of ${id} that was not finished`);
  }

  /** A switch that was cut off has happened once the readers' table is the new copy; otherwise it begins again. */
  async #finishSwitch(known: KnownTable, plan: TablePlan): Promise<KnownTable> {
    if (known.state !== 'switching') return known;
    const [uuid, ...made] = known.switchingTo.split(' ');
    const definition = made.join(' ');
    const done = (await this.#identity(plan.name)) === uuid;
    const settled = await this.#stored.update(
      known.id,
      done
        ? { state: 'streaming', definition, switchingTo: '', altered: '' }
        : { state: known.definition === '' ? 'snapshotting' : 'resync', switchingTo: '' },
    );
    if (done) await this.#dropCopies(plan, `dropping the former copy of ${plan.id}`);
    return settled;
  }

  /** The UUID of a landing table, which stays with its rows whatever they are called; null when there is none. */
  async #identity(name: string): Promise<string | null> {
    const [row] = await this.#server.rows<{ uuid: string }>(
      `select toString(uuid) as uuid from system.tables
        where database = ${quoteString(this.#databases.landing)} and name = ${quoteString(name)}`,
      `looking for ${name}`,
    );
    return row?.uuid ?? null;
  }

  /** Views, and marts whose tables are all there; whether any mart was made. */
  async #show(plan: TablePlan): Promise<boolean> {
    if (plan.history) await this.#server.define(auditTable(plan), `showing ${plan.id}`);
    await this.#views.show(plan);
    this.#complete.set(plan.id, plan);
    // Two tables may be complete at the same moment, and a mart over both is made once.
    const made = this.#making.then(() => this.#marts.ensure(this.#complete));
    this.#making = made.catch(() => undefined);
    return made;
  }

  #plan(relation: Relation): TablePlan {
    const known = this.#plans.get(relation);
    if (known !== undefined) return known;
    const table = this.#options.tables.get(relation.id);
    const plan = planTable(relation, {
      databases: this.#databases,
      name: this.#names.claim(relation, table?.history ?? false),
      retention: table?.retention ?? null,
      history: table?.history ?? false,
      martColumns: this.#marts.tracked(relation.id),
      columns: table?.columns,
      mask: table?.mask,
      masker: this.#options.masker,
    });
    this.#marts.check(plan);
    this.#plans.set(relation, plan);
    return plan;
  }

  /** As it may be stored. */
  #stampOf({ id, stamp }: Relation): string {
    const { tables, masker } = this.#options;
    const mask = tables.get(id)?.mask ?? [];
    if (masker === undefined || mask.length === 0) return stamp ?? '';
    return maskedStamp(stamp, masker, (column) => mask.includes(column));
  }

  /** A relation that was neither attached nor snapshotted has no table that fits it. */
  #planOf(relation: Relation): TablePlan {
    const plan = this.#plans.get(relation);
    if (plan !== undefined) return plan;
    throw new WalhouseError('schema_changed', {
      what: `${relation.id} came in a form that it did not have when streaming began.`,
      why: 'Its table in ClickHouse has other columns.',
      fix: `restart walhouse; if the columns of ${relation.id} have changed, walhouse resync ${relation.id}`,
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
