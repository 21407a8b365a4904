import { auditView } from './audit.js';
import { atView, lifeView } from './history-views.js';
import { qualified } from './identifier.js';
import { tableView } from './landing.js';
import { historyNames, type Databases } from './names.js';
import type { Ownership } from './ownership.js';
import type { TablePlan } from './plan.js';
import type { Server } from './server.js';
import { asideName, asidesOf, type Stage } from './stage.js';

/** What people read of each table: its view, its history's, and what stands in for it while a new copy takes its place. */
export class PeoplesViews {
  readonly #server: Server;
  readonly #ownership: Ownership;
  readonly #databases: Databases;

  constructor(server: Server, ownership: Ownership, databases: Databases) {
    this.#server = server;
    this.#ownership = ownership;
    this.#databases = databases;
  }

  /** Makes the views anew where they are not as the plan has them. The table of the trail must be there. */
  async show(plan: TablePlan): Promise<void> {
    const { views, audit } = this.#databases;
    const doing = `showing ${plan.id}`;
    const show = (database: string, name: string, define: (view: string) => string): Promise<void> =>
      this.#ownership.replaceView(database, name, define, doing);
    if (plan.history) await show(audit, plan.name, (view) => auditView({ ...plan, audit: view }));
    await show(views, plan.name, (view) => tableView({ ...plan, view }));
    if (!plan.history) return;
    const { at, life } = historyNames(plan.name);
    await show(views, at, (view) => atView(plan, view));
    await show(views, life, (view) => lifeView(plan, view));
  }

  /**
   * Lets people's view read a copy of the new table, which shares its parts, while that takes the old one's name: a view with the
   * columns of the one could not read the other.
   */
  async showAside({ plan, staged }: Stage): Promise<void> {
    const doing = `showing the new copy of ${plan.id}`;
    const landing = qualified(this.#databases.landing, asideName(plan));
    await this.#server.define(`create table ${landing} clone as ${staged.landing}`, doing);
    await this.#ownership.replaceView(
      this.#databases.views,
      plan.name,
      (view) => tableView({ ...plan, landing, view }),
      doing,
    );
  }

  /** Once people's view reads the table itself again. One may be left of a switch that was cut off. */
  async dropAsides(plan: TablePlan): Promise<void> {
    const doing = `dropping what was shown of ${plan.id} for a moment`;
    const { landing } = this.#databases;
    const rows = await this.#server.rows<{ name: string }>(
      'select name from system.tables where database = {landing:String}',
      doing,
      { landing },
    );
    const names = rows.map(({ name }) => name);
    for (const name of asidesOf(names, plan)) await this.#ownership.drop(landing, name, doing);
  }
}
