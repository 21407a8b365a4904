import { setTimeout as later } from 'node:timers/promises';
import type { Log } from '../pipeline/log.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

/** Names of what was replaced begin so, in the landing database, and of what is yet to get its name. */
export const GONE_PREFIX = '_walhouse_gone_';
/** Tables that are being made, and hold no rows. */
export const MADE_PREFIX = `${GONE_PREFIX}made_`;
/** How often what was replaced is looked at: the more seldom, the older the youngest of it. */
const LOOK_MS = 1_000;
const LOOK_MS_MAX = 5_000;
/** So often in a row it is tried in vain, each time after the longest wait. */
const FAILURES_MAX = 20;
/** While a part has no more references nobody reads or merges it, see `refcount` of `system.parts`; caches may keep one more. */
const REFERENCES_UNREAD = 2;
/** A query that has found a table takes its parts within this, when it is planned. */
const PLANNED_MS = 900;

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
 * it is a view or dropped with SYNC. What is left when the process ends, or when drops fail for minutes, is the next owner's to remove.
 */
export class Leftovers {
  readonly #server: Server;
  readonly #database: string;
  readonly #log: Log;
  /** Since when nobody finds it any more, by name. */
  readonly #since = new Map<string, number>();
  #sweeping = false;

  constructor(server: Server, database: string, log: Log) {
    this.#server = server;
    this.#database = database;
    this.#log = log;
  }

  /** Has it removed, without waiting. */
  remove(name: string): void {
    this.#since.set(name, performance.now());
    if (this.#sweeping) return;
    this.#sweeping = true;
    void this.#sweep().finally(() => (this.#sweeping = false));
  }

  async #sweep(): Promise<void> {
    let failures = 0;
    while (this.#since.size > 0) {
      const youngestMs = performance.now() - Math.max(...this.#since.values());
      const waitMs = failures > 0 ? LOOK_MS_MAX : Math.min(Math.max(LOOK_MS, youngestMs), LOOK_MS_MAX);
      // Not a reason to stay: the process may end meanwhile.
      await later(waitMs, undefined, { ref: false });
      try {
        await this.#dropUnread();
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#log.debug({ err: error, failures }, 'dropping what was replaced failed');
        if (failures < FAILURES_MAX) continue;
        const tables = [...this.#since.keys()];
        this.#log.warn({ err: error, tables }, 'what was replaced is left for the next start to drop');
        this.#since.clear();
      }
    }
  }

  async #dropUnread(): Promise<void> {
    const names = [...this.#since.keys()];
    const lookedAt = performance.now();
    const found = await this.#look(names);
    for (const name of names) if (!found.some((one) => one.name === name)) this.#since.delete(name);
    for (const { name } of found.filter((one) => this.#isUnread(one, lookedAt))) {
      await drop(this.#server, this.#database, name);
      this.#since.delete(name);
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
                     where database = {database:String} and table in {names:Array(String)} group by table) as parts on parts.table = tables.name
        where database = {database:String} and name in {names:Array(String)}
        order by engine != 'MaterializedView'`,
      'looking who reads what was replaced',
      { database: this.#database, names },
    );
  }
}

/**
 * Removes what was replaced and is still there, whoever reads it: rows that are to be gone may be in it. Where a query goes on reading it for
 * longer than ClickHouse is waited for, it throws.
 */
export async function dropLeftovers(server: Server, landingDatabase: string): Promise<void> {
  const left = await server.rows<{ name: string }>(
    `select name from system.tables
      where database = {database:String} and startsWith(name, {gone:String}) and not startsWith(name, {made:String})
        and (engine like '%MergeTree' or engine = 'MaterializedView')
      order by engine != 'MaterializedView'`,
    'looking for what was replaced',
    { database: landingDatabase, gone: GONE_PREFIX, made: MADE_PREFIX },
  );
  for (const { name } of left) await drop(server, landingDatabase, name);
}

function drop(server: Server, database: string, name: string): Promise<void> {
  return server.define(
    `drop table if exists ${qualified(database, name)} sync`,
    'dropping what was replaced',
  );
}
