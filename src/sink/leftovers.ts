import { setTimeout as later } from 'node:timers/promises';
import type { Log } from '../pipeline/log.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

/** How often what was replaced is looked at while somebody still reads it, at first and at last. */
const LOOK_MS = 250;
const LOOK_MS_MAX = 10_000;
/** While a part has no more references nobody reads or merges it, see `refcount` of `system.parts`; caches may keep one more. */
const REFERENCES_UNREAD = 2;
/** A query that has found a table takes its parts within this, when it is planned. */
const PLANNED_MS = 1_000;

interface Found {
  readonly name: string;
  readonly is_view: number;
  readonly references: number;
  readonly oldest_s: number;
}

/**
 * Tables and views that were replaced, under names that nobody else can find, until they are removed from the disk: when no query is left
 * that could have found them, or, of a table, when its parts are certainly not read any more.
 *
 * ClickHouse 26.7 would wait for the readers itself, but keeps a core busy with looking whether they have finished: from the start where
 * it is a view or dropped with SYNC. What is left when the process ends, or when a drop fails, is the next owner's to remove.
 */
export class Leftovers {
  readonly #server: Server;
  readonly #database: string;
  readonly #log: Log;
  /** Since when nobody finds it any more, by name. */
  readonly #since = new Map<string, number>();
  #arrived = new AbortController();
  #sweeping = false;

  constructor(server: Server, database: string, log: Log) {
    this.#server = server;
    this.#database = database;
    this.#log = log;
  }

  /** Has it removed, without waiting. */
  remove(name: string): void {
    this.#since.set(name, performance.now());
    this.#arrived.abort();
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#sweep()
      .catch((error: unknown) => {
        this.#since.clear();
        this.#log.debug({ err: error }, 'dropping what was replaced failed');
      })
      .finally(() => (this.#sweeping = false));
  }

  async #sweep(): Promise<void> {
    let waitMs = LOOK_MS;
    while (this.#since.size > 0) {
      this.#arrived = new AbortController();
      const { signal } = this.#arrived;
      const names = [...this.#since.keys()];
      const lookedAt = performance.now();
      const found = await this.#look(names);
      for (const name of names) if (!found.some((one) => one.name === name)) this.#since.delete(name);
      const unread = found.filter((one) => this.#isUnread(one, lookedAt));
      for (const { name } of unread) {
        await this.#server.define(
          `drop table ${qualified(this.#database, name)} sync`,
          'dropping what was replaced',
        );
        this.#since.delete(name);
      }
      if (this.#since.size === 0) return;
      waitMs = unread.length > 0 || signal.aborted ? LOOK_MS : Math.min(2 * waitMs, LOOK_MS_MAX);
      // Not a reason to stay: the process may end meanwhile.
      await later(waitMs, undefined, { ref: false, signal }).catch(() => undefined);
    }
  }

  /** Whether it was unread at `lookedAt`, before the look was sent: until the answer comes, every query grows older. */
  #isUnread({ name, is_view: isView, references, oldest_s: oldestS }: Found, lookedAt: number): boolean {
    const sinceMs = lookedAt - this.#since.get(name)!;
    if (oldestS * 1_000 < sinceMs) return true;
    return isView === 0 && references <= REFERENCES_UNREAD && sinceMs >= PLANNED_MS;
  }

  /** Queries of nobody are the server's own. */
  #look(names: readonly string[]): Promise<Found[]> {
    return this.#server.rows<Found>(
      `select name, engine = 'View' as is_view, references,
              (select max(elapsed) from system.processes where user != '') as oldest_s
         from system.tables as tables
         left join (select table, max(refcount) as references from system.parts
                     where database = {database:String} group by table) as parts on parts.table = tables.name
        where database = {database:String} and name in {names:Array(String)}
        order by engine != 'MaterializedView'`,
      'looking who reads what was replaced',
      { database: this.#database, names },
    );
  }
}
