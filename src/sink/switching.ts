import { failpoint } from '../pipeline/failpoint.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import { auditTable } from './audit.js';
import type { BatchStore } from './batch-store.js';
import type { Copies } from './copies.js';
import { definitionOf } from './evolution.js';
import { landingTable } from './landing.js';
import type { Marts } from './marts.js';
import type { Databases } from './names.js';
import type { Ownership } from './ownership.js';
import type { PeoplesViews } from './peoples-views.js';
import type { TablePlan } from './plan.js';
import type { Plans } from './plans.js';
import type { Quarantine } from './quarantine.js';
import type { BufferPool } from './row-buffer.js';
import type { Server } from './server.js';
import { nextName, obsoleteBelow } from './stage.js';
import type { KnownTable, StoredTables } from './stored-tables.js';
import { nextVersionsName, versionsTable } from './versions.js';

export interface SwitchingOptions {
  readonly server: Server;
  readonly ownership: Ownership;
  readonly databases: Databases;
  readonly marts: Marts;
  readonly stored: StoredTables;
  readonly quarantine: Quarantine;
  readonly views: PeoplesViews;
  readonly plans: Plans;
  readonly copies: Copies;
  readonly pool: BufferPool;
  /** Whose rows may be on their way to a copy. */
  readonly batches: BatchStore;
}

/**
 * From the copy that was made to the one that people read. A switch that is cut off at any point has either happened or not, which the
 * copy's UUID tells the next process.
 */
export class Switching {
  readonly #options: SwitchingOptions;
  #making: Promise<unknown> = Promise.resolve();

  constructor(options: SwitchingOptions) {
    this.#options = options;
  }

  /** Puts the copy that is complete, of a snapshot at `consistentPoint`, in the place of the one that people read, if there is any. */
  async perform(relation: Relation, consistentPoint: Lsn): Promise<void> {
    const { server, databases, marts, stored, quarantine, views, plans, copies, pool } = this.#options;
    const { stage, marts: staged } = copies.staged.get(relation.id)!;
    const { plan } = stage;
    copies.begins(plan.id);
    stage.filled = true;
    await stage.settle(server, pool, quarantine, consistentPoint);
    if (!stage.live) await marts.forgetBelow(staged, obsoleteBelow(consistentPoint));
    await stage.settleHistory(server, databases, consistentPoint);
    const definition = JSON.stringify(definitionOf(plan));
    const next = await this.#identity(nextName(plan));
    const snapshotLsn = consistentPoint;
    await stored.update(plan.id, {
      state: 'switching',
      snapshotLsn,
      switchingTo: `${next} ${definition}`,
    });
    failpoint('before_switch');
    await marts.switchStages(staged);
    failpoint('between_switches');
    const isFirst = (await this.#identity(plan.name)) === null;
    if (!isFirst && !stage.live) await views.showAside(stage);
    failpoint('shown_aside');
    await this.#exchange(plan, stage, isFirst);
    // From here on batches go to the readers' name alone.
    copies.staged.delete(plan.id);
    plans.set(relation, plan);
    copies.complete.set(plan.id, plan);
    await marts.resume(staged, copies.complete);
    await this.show(plan);
    failpoint('after_switch');
    await quarantine.clear(plan.id, obsoleteBelow(consistentPoint));
    await stored.update(plan.id, {
      state: 'streaming',
      snapshotLsn,
      definition,
      switchingTo: '',
      altered: '',
    });
    await this.#dropCopies(plan, showing(plan));
    await views.dropAsides(plan);
    await marts.dropStages(staged);
  }

  async #exchange(
    plan: TablePlan,
    { staged, live }: { readonly staged: TablePlan; readonly live: boolean },
    isFirst: boolean,
  ): Promise<void> {
    const { server, ownership } = this.#options;
    const doing = showing(plan);
    if (plan.history && !live) {
      // Both at once: what they hold belongs together.
      if (isFirst) await server.define(landingTable(plan), doing);
      await server.define(versionsTable(plan), doing);
      await ownership.exchangeAll(
        [
          [staged.landing, plan.landing],
          [staged.versions, plan.versions],
        ],
        doing,
      );
    } else if (isFirst) await ownership.rename(staged.landing, plan.landing, doing);
    else await ownership.exchange(staged.landing, plan.landing, doing);
  }

  /** A switch that was cut off has happened once the readers' table is the new copy; otherwise it begins again. */
  async finish(known: KnownTable, plan: TablePlan): Promise<KnownTable> {
    if (known.state !== 'switching') return known;
    const [uuid, ...made] = known.switchingTo.split(' ');
    const definition = made.join(' ');
    const done = (await this.#identity(plan.name)) === uuid;
    const settled = await this.#options.stored.update(
      known.id,
      done
        ? { state: 'streaming', definition, switchingTo: '', altered: '' }
        : { state: known.definition === '' ? 'snapshotting' : 'resync', switchingTo: '' },
    );
    if (done) await this.#dropCopies(plan, `dropping the former copy of ${plan.id}`);
    return settled;
  }

  /** Views, and marts whose tables are all there; whether any mart was made. */
  async show(plan: TablePlan): Promise<boolean> {
    const { server, views, marts, copies } = this.#options;
    if (plan.history) await server.define(auditTable(plan), `showing ${plan.id}`);
    await views.show(plan);
    copies.complete.set(plan.id, plan);
    // Two tables may be complete at the same moment, and a mart over both is made once.
    const made = this.#making.then(() => marts.ensure(copies.complete));
    this.#making = made.catch(() => undefined);
    return made;
  }

  /** Drops a copy that was not finished, if there is any. */
  async dropStage(id: string): Promise<void> {
    const { copies, marts, batches } = this.#options;
    const before = copies.staged.get(id);
    if (before === undefined) return;
    copies.staged.delete(id);
    // What goes to the copy as well finds it there.
    await batches.settled();
    await marts.dropStages(before.marts);
    await this.#dropCopies(before.stage.plan, `dropping a copy of ${id} that was not finished`);
  }

  /** Drops what stood beside the copies that people read. */
  async #dropCopies(plan: TablePlan, doing: string): Promise<void> {
    const { ownership, databases } = this.#options;
    await ownership.drop(databases.landing, nextName(plan), doing);
    if (plan.history) await ownership.drop(databases.landing, nextVersionsName(plan), doing);
  }

  /** The UUID of a landing table, which stays with its rows whatever they are called; null when there is none. */
  async #identity(name: string): Promise<string | null> {
    const { server, databases } = this.#options;
    const [row] = await server.rows<{ uuid: string }>(
      'select toString(uuid) as uuid from system.tables where database = {landing:String} and name = {name:String}',
      `looking for ${name}`,
      { landing: databases.landing, name },
    );
    return row?.uuid ?? null;
  }
}

function showing({ id }: TablePlan): string {
  return `showing the new copy of ${id}`;
}
