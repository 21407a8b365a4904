import type { Log } from '../pipeline/log.js';
import { WalhouseError } from '../pipeline/errors.js';
import { failpoint } from '../pipeline/failpoint.js';
import { absentColumn, copyToo } from './absent-column.js';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import { invalid, martHash, objectsOf, type Mart } from './mart-files.js';
import { VERSION, type Databases } from './names.js';
import type { Ownership } from './ownership.js';
import type { TablePlan } from './plan.js';
import { martImages, type MartImage } from './mart-images.js';
import { readsLanding, stageOf, NEXT_PREFIX, type MartStage } from './mart-stage.js';
import type { Server } from './server.js';
import { StateTable } from './state-table.js';
import { nameTaken, takenObjects } from './taken-names.js';

export { loadMarts, type MartFiles } from './mart-files.js';

type KeptMart = Readonly<{ name: string; hash: string; objects: readonly string[] }>;

/**
 * The marts over complete tables. Each is made whole from landing or not at all: its hash is remembered
 * last, so one that was cut off is made again, and so is one whose SQL has changed.
 */
export class Marts {
  readonly #server: Server;
  readonly #ownership: Ownership;
  /** Resolves when nobody asks any more for exact answers from what is made of these tables. */
  readonly #withdraw: (ids: readonly string[]) => Promise<void>;
  readonly #databases: Databases;
  readonly #marts: readonly Mart[];
  readonly #log: Log;
  readonly #table: string;
  readonly #kept: StateTable<KeptMart>;

  constructor(
    server: Server,
    ownership: Ownership,
    databases: Databases,
    marts: readonly Mart[],
    log: Log,
    withdraw: (ids: readonly string[]) => Promise<void>,
  ) {
    this.#withdraw = withdraw;
    this.#server = server;
    this.#ownership = ownership;
    this.#databases = databases;
    this.#marts = marts;
    this.#log = log;
    this.#table = qualified(databases.landing, '_walhouse_marts');
    this.#kept = new StateTable({
      server,
      table: this.#table,
      key: 'name',
      columns: 'name, hash, objects',
      of: 'the marts',
    });
  }

  /** The columns of a source table that any mart tracks. */
  tracked(id: string): string[] {
    return this.#marts.flatMap((mart) =>
      mart.sources.filter((source) => source.id === id).flatMap((source) => source.tracks),
    );
  }

  /** Whether a mart reads the column. Where it takes all columns, or its SQL merely has the word, it does. */
  reads(plan: TablePlan, column: string): boolean {
    return this.#marts.some(
      (mart) => mart.sources.some(({ id }) => id === plan.id) && mentions(mart, column),
    );
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        name String comment 'The mart',
        hash String comment 'Of its SQL and its source columns; empty while it is not complete',
        objects Array(String) comment 'What it consists of, in the order of creation',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(saved_at)
      order by name
      settings ${DURABLE}
      comment 'Which marts are complete, and from which SQL'`,
      'creating the table of marts',
    );
    await this.#kept.forget();
    await this.#dropUnwanted();
    await this.#refuseTaken();
  }

  /** Refuses a table whose columns a mart could not work with, before anything is made. */
  check(plan: TablePlan): void {
    for (const mart of this.#marts) {
      for (const source of mart.sources) {
        if (source.id !== plan.id) continue;
        for (const { column, families } of source.needs) {
          const planned = plan.columns.find(({ name }) => name === column);
          if (planned === undefined)
            throw invalid(
              mart.name,
              `needs ${plan.id}.${column}, and ${absentColumn(plan.relation, column)}`,
              copyToo(plan.relation, column) ?? undefined,
            );
          const { stored, mask } = planned;
          if (families.some((family) => isOf(stored.base, family))) continue;
          throw invalid(
            mart.name,
            `needs ${plan.id}.${column} as ${families.join(' or ')}, and it is ${stored.base} in ClickHouse`,
            `${mask === undefined ? "change the column's type in Postgres" : `remove ${column} from tables.${plan.id}.mask`}, or leave the mart out of marts in walhouse.yaml`,
          );
        }
      }
    }
  }

  /** Makes the marts whose tables are all among `complete`; those that are as they should be stay untouched. True when any was made. */
  async ensure(complete: ReadonlyMap<string, TablePlan>): Promise<boolean> {
    const wanted = this.#marts.filter((mart) => mart.sources.every(({ id }) => complete.has(id)));
    if (wanted.length === 0) return false;
    const kept = await this.#load();
    let made = false;
    for (const mart of wanted) {
      const hash = hashOf(mart, complete);
      const before = kept.get(mart.name);
      if (before?.hash === hash && (await this.#allThere(before.objects))) continue;
      if (before !== undefined && before.hash !== '') await this.#withdraw(mart.sources.map(({ id }) => id));
      failpoint('before_mart');
      await this.#drop(mart, before);
      await this.#build(mart, hash);
      made = true;
    }
    await this.#ownViews(wanted.flatMap(objectsOf));
    return made;
  }

  /**
   * Has each view read with our rights and not with its reader's, so that nobody but us needs any on landing, nor on the tables that marts
   * keep. Views that another user of ClickHouse has made for us become ours.
   */
  async #ownViews(objects: readonly string[]): Promise<void> {
    const doing = 'looking whose rights the views of marts read with';
    const others = await this.#server.rows<{ name: string }>(
      `select name from system.tables
        where database = {database:String} and name in {names:Array(String)} and engine in ('View', 'MaterializedView')
          and trim(both '\`' from extract(create_table_query, 'DEFINER = (.+) SQL SECURITY DEFINER')) != currentUser()`,
      doing,
      { database: this.#databases.views, names: objects },
    );
    for (const { name } of others)
      await this.#server.define(
        `alter table ${qualified(this.#databases.views, name)} modify definer = current_user sql security definer`,
        doing,
      );
  }

  /**
   * Makes, beside the marts that are there, what of them hangs on this table; fed from the table's stage, so both fill together.
   * Marts that are not there yet are left to `ensure`.
   */
  async openStages(plan: TablePlan): Promise<MartStage[]> {
    const over = this.#marts.filter((mart) => mart.sources.some((source) => source.id === plan.id));
    if (over.length === 0) return [];
    const kept = await this.#load();
    const stages: MartStage[] = [];
    for (const mart of over) {
      const before = kept.get(mart.name);
      if (before === undefined || before.hash === '' || !(await this.#allThere(before.objects))) continue;
      const stage = stageOf(mart, plan.name, this.#databases);
      if (stage === null) continue;
      await this.dropStages([stage]);
      for (const { file, sql, feed } of stage.statements) {
        await this.#server.define(sql, `making ${file} of mart "${mart.name}" anew`);
        if (feed?.backfill === true)
          await this.#backfill(mart, feed.object, feed.target, this.#databases.landing);
      }
      stages.push(stage);
    }
    return stages;
  }

  /** What the marts' tables that this table feeds show of some keys. */
  async images(plan: TablePlan, keys: readonly string[]): Promise<MartImage[]> {
    const targets = new Set(
      this.#marts.flatMap(({ statements }) =>
        statements.flatMap(({ target, raw }) =>
          target !== null && readsLanding(raw).includes(plan.name) ? [target] : [],
        ),
      ),
    );
    const images: MartImage[] = [];
    for (const target of targets)
      images.push(...(await martImages(this.#server, this.#databases, target, plan, keys)));
    return images;
  }

  async dropStages(stages: readonly MartStage[]): Promise<void> {
    for (const { mart, feeds, targets } of stages) {
      const objects = [
        ...feeds.map(({ object }) => object),
        ...targets.map((target) => `${NEXT_PREFIX}${target}`),
      ];
      for (const object of objects) {
        await this.#ownership.drop(
          this.#databases.landing,
          object,
          `dropping ${object} of mart "${mart.name}"`,
        );
      }
    }
  }

  /**
   * Removes from the stages every version below that of the snapshot. The stream may have brought rows while the snapshot's position was
   * not known, and the changes that moved them on were passed over once it was: in landing the snapshot's row lies over such a
   * row, in a mart with another sort key nothing does. Answers from the new copy are of the snapshot's position or later ones.
   */
  async forgetBelow(stages: readonly MartStage[], version: string): Promise<void> {
    const { landing: database } = this.#databases;
    for (const { mart, targets } of stages) {
      const names = targets.map((target) => `${NEXT_PREFIX}${target}`);
      const versioned = await this.#server.rows<{ table: string }>(
        `select table from system.columns
         where database = {database:String} and table in {names:Array(String)} and name = {column:String}`,
        `looking at the stage of mart "${mart.name}"`,
        { database, names, column: VERSION },
      );
      for (const { table } of versioned)
        await this.#server.longCommand(
          `alter table ${qualified(database, table)} delete where ${VERSION} < toUInt128('${version}')`,
          `finishing the stage of mart "${mart.name}"`,
          { mutations_sync: '1' },
        );
    }
  }

  /**
   * Stops what fills the old tables and the new ones, then has the new ones take their place; the feeds begin again by `resume`.
   * For a moment in which nothing is stored.
   */
  async switchStages(stages: readonly MartStage[]): Promise<void> {
    const { views, landing } = this.#databases;
    for (const { mart, feeds, targets } of stages) {
      const doing = `switching mart "${mart.name}"`;
      for (const { object, statement } of feeds) {
        await this.#ownership.drop(landing, object, doing);
        await this.#ownership.drop(views, statement.object!, doing);
      }
      for (const target of targets) {
        await this.#ownership.exchange(
          qualified(views, target),
          qualified(landing, `${NEXT_PREFIX}${target}`),
          doing,
        );
      }
    }
  }

  async resume(stages: readonly MartStage[], plans: ReadonlyMap<string, TablePlan>): Promise<void> {
    for (const { mart, feeds } of stages) {
      for (const { statement } of feeds)
        await this.#server.define(statement.sql, `running ${statement.file} of mart "${mart.name}"`);
      await this.#save(mart.name, hashOf(mart, plans), objectsOf(mart));
    }
  }

  /**
   * Drops the marts that are not in the configuration any more: what they track is not tracked now, so they would be fed
   * without the tombstones they need and be wrong in silence.
   */
  async #dropUnwanted(): Promise<void> {
    const wanted = new Set(this.#marts.map(({ name }) => name));
    for (const [name, { objects }] of await this.#load()) {
      if (wanted.has(name) || objects.length === 0) continue;
      await this.#dropObjects(name, objects);
      await this.#save(name, '', []);
      this.#log.info({ mart: name }, 'mart dropped: it is not in marts any more');
    }
  }

  /** What somebody else has made under a mart's names must not be dropped to make room. */
  async #refuseTaken(): Promise<void> {
    const ours = new Set([...(await this.#load()).values()].flatMap(({ objects }) => objects));
    for (const mart of this.#marts) {
      const names = objectsOf(mart).filter((name) => !ours.has(name));
      const [object] =
        names.length === 0 ? [] : await takenObjects(this.#server, this.#databases.views, names);
      if (object !== undefined) throw nameTaken(`mart "${mart.name}"`, object);
    }
  }

  async #build(mart: Mart, hash: string): Promise<void> {
    const startedAtMs = Date.now();
    for (const statement of mart.statements) {
      try {
        await this.#server.define(statement.sql, `running ${statement.file} of mart "${mart.name}"`);
        if (statement.target !== null && statement.object !== null)
          await this.#backfill(mart, statement.object, statement.target);
      } catch (error) {
        if (error instanceof WalhouseError && error.policy !== 'stop') throw error;
        const problem = error instanceof WalhouseError ? error.what : String(error);
        throw invalid(mart.name, `could not be made from ${statement.file}: ${problem}`, undefined, error);
      }
    }
    await this.#save(mart.name, hash, objectsOf(mart));
    this.#log.info({ mart: mart.name, ms: Date.now() - startedAtMs }, 'mart made from landing');
  }

  /** A materialized view sees only what is inserted from now on; what is there already comes through its own select. */
  async #backfill(mart: Mart, view: string, target: string, database = this.#databases.views): Promise<void> {
    const [row] = await this.#server.rows<{ as_select: string }>(
      'select as_select from system.tables where database = {database:String} and name = {name:String}',
      `reading ${view} of mart "${mart.name}"`,
      { database, name: view },
    );
    if (row === undefined) throw invalid(mart.name, `has lost ${view} while it was made`);
    await this.#ownership.fence(qualified(database, target), `filling ${target} of mart "${mart.name}"`);
    await this.#server.longCommand(
      `insert into ${qualified(database, target)} ${row.as_select}`,
      `filling ${target} of mart "${mart.name}"`,
      // Landing may still hold versions whose tombstone is gone already, since what came after it has the same sort key there.
      { final: 1 },
    );
  }

  async #drop(mart: Mart, before: KeptMart | undefined): Promise<void> {
    const objects = new Set([...(before?.objects ?? []), ...objectsOf(mart)]);
    // First of all, so that what is made until it is complete is known as ours.
    await this.#save(mart.name, '', [...objects]);
    await this.#dropObjects(mart.name, [...objects]);
  }

  async #dropObjects(mart: string, objects: readonly string[]): Promise<void> {
    for (const object of [...objects].reverse()) {
      await this.#ownership.drop(this.#databases.views, object, `dropping ${object} of mart "${mart}"`);
    }
  }

  async #allThere(objects: readonly string[]): Promise<boolean> {
    const [row] = await this.#server.rows<{ found: string }>(
      'select toString(count()) as found from system.tables where database = {database:String} and name in {names:Array(String)}',
      'looking for the marts',
      { database: this.#databases.views, names: objects },
    );
    return Number(row?.found) === objects.length;
  }

  async #load(): Promise<Map<string, KeptMart>> {
    return new Map((await this.#kept.load()).map((mart) => [mart.name, mart]));
  }

  async #save(name: string, hash: string, objects: readonly string[]): Promise<void> {
    await this.#kept.update(name, () => ({ name, hash, objects }));
  }
}

/** A star that is neither a factor nor in `count(*)`. */
const TAKES_ALL = /(select|,|\.)\s*\*/i;

function hashOf(mart: Mart, plans: ReadonlyMap<string, TablePlan>): string {
  const types = mart.sources.flatMap(({ id }) =>
    (plans.get(id)?.columns ?? [])
      .filter(({ name }) => mentions(mart, name))
      .map(({ name, stored }) => `${id}.${name} ${stored.type}`),
  );
  return martHash(mart, types);
}

function mentions(mart: Mart, column: string): boolean {
  return mart.statements.some(({ raw }) => TAKES_ALL.test(raw) || raw.includes(column));
}

/** `Int` is any whole number, `Date` any date or moment, `String` any text. */
function isOf(base: string, family: string): boolean {
  switch (family) {
    case 'Int':
      return /^U?Int\d+$/.test(base);
    case 'Date':
      return base.startsWith('Date');
    case 'String':
      return base.includes('String');
    default:
      return base.startsWith(family);
  }
}
