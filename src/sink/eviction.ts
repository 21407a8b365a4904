import { sleep } from '../pipeline/backoff.js';
import type { Log } from '../pipeline/log.js';
import { takenOver } from './claims.js';
import { fencesIn, isEarlier, raiseFence } from './fence.js';
import { qualified } from './identifier.js';
import { GONE_PREFIX, type Leftovers } from './leftovers.js';
import type { Databases } from './names.js';
import type { Server } from './server.js';

const GUARD_PREFIX = '_walhouse_guard_';
/** How many tables are fenced at once. */
const FENCES_AT_ONCE = 4;
/** How long statements of an earlier owner may take to notice that they are cancelled. */
const ENDING_MS = 2_000;
const ENDING_LOOK_MS = 10;
/** One that waits for bytes of a process that sleeps is cancelled, though it stays listed. */
const ENDED_AFTER_MS = 300;

export interface EvictionOptions {
  /** For statements in nobody's name. */
  readonly server: Server;
  readonly databases: Databases;
  readonly leftovers: Leftovers;
  readonly log: Log;
}

/** Shuts out whoever wrote before: what was sent in an earlier epoch changes nothing from then on, see `Ownership`. */
export class Eviction {
  readonly #options: EvictionOptions;

  constructor(options: EvictionOptions) {
    this.#options = options;
  }

  /** Throws `sink_taken_over` where a later epoch has begun. */
  async perform(epoch: number): Promise<void> {
    const { server, databases } = this.#options;
    const doing = 'shutting out an earlier instance';
    const { landing, views, audit } = databases;
    for (const guard of guardsOf(epoch, databases))
      await server.define(`create table if not exists ${guard} (x UInt8) engine = Null`, doing);
    // From here on no name changes but by us, so the tables below are the ones that stay.
    for (const { name } of await this.#left(GUARD_PREFIX))
      if (Number.parseInt(name.slice(GUARD_PREFIX.length), 10) < epoch) await this.#drop(name);
    const tables = await server.rows<{ database: string; name: string; made: string }>(
      `select database, name, create_table_query as made from system.tables
        where database in {databases:Array(String)} and engine like '%MergeTree' and not startsWith(name, {gone:String})`,
      doing,
      // What was replaced is nobody's to write to, and may vanish at any time.
      { databases: [landing, views, audit], gone: GONE_PREFIX },
    );
    const queue = [...tables];
    await Promise.all(
      Array.from({ length: FENCES_AT_ONCE }, async () => {
        for (let table = queue.shift(); table !== undefined; table = queue.shift()) {
          const fences = fencesIn(table.made);
          // One of a later owner must not go: it keeps us out, and would let us and it write.
          if (fences.some((found) => found > epoch)) throw takenOver(null);
          const name = qualified(table.database, table.name);
          await server.define(`alter table ${name} ${raiseFence(epoch, fences)}`, doing);
        }
      }),
    );
    await this.#cancelEarlier(epoch);
  }

  /** Has what an earlier owner had replaced, or was making, removed. */
  async dropLeft(): Promise<void> {
    const gone = await this.#left(GONE_PREFIX);
    // Views that still fill tables go before those, and are read by nobody.
    for (const { name } of gone.filter(({ fills }) => fills === 1)) await this.#drop(name);
    for (const { name } of gone.filter(({ fills }) => fills === 0)) this.#options.leftovers.remove(name);
  }

  /** Helpers that a process before us has left, and whether they are views that fill tables. */
  #left(prefix: string): Promise<{ name: string; fills: number }[]> {
    const { server, databases } = this.#options;
    return server.rows(
      `select name, engine = 'MaterializedView' as fills from system.tables
        where database = {landing:String} and startsWith(name, {prefix:String})`,
      'looking for what an earlier instance has left',
      { landing: databases.landing, prefix },
    );
  }

  #drop(name: string): Promise<void> {
    const { server, databases } = this.#options;
    const left = qualified(databases.landing, name);
    return server.define(`drop table if exists ${left}`, 'dropping what an earlier instance has left');
  }

  /**
   * Ends statements that an earlier owner had begun. One that waits for the rest of its rows may be listed for longer, but is
   * cancelled and stores nothing.
   */
  async #cancelEarlier(epoch: number): Promise<void> {
    const { server, databases, log } = this.#options;
    const earlier = isEarlier(epoch, databases.views);
    const doing = 'cancelling what an earlier instance had begun';
    const deadline = Date.now() + ENDING_MS;
    let cancelledAtMs: number | null = null;
    for (;;) {
      const rows = await server.rows<{ query_id: string; cancelled: number }>(
        `select query_id, is_cancelled as cancelled from system.processes where ${earlier}`,
        doing,
      );
      if (rows.length === 0) return;
      if (rows.some(({ cancelled }) => cancelled === 0)) {
        // Its answer may take as long as the statement; what counts is that it is listed as cancelled.
        server.define(`kill query where ${earlier} async`, doing).catch((error: unknown) => {
          log.warn({ err: error }, 'statements of an earlier instance could not be cancelled');
        });
      } else {
        cancelledAtMs ??= Date.now();
        if (Date.now() - cancelledAtMs > ENDED_AFTER_MS) return;
      }
      if (Date.now() > deadline) {
        log.warn({ statements: rows.length }, 'statements of an earlier instance go on');
        return;
      }
      await sleep(ENDING_LOOK_MS);
    }
  }
}

/** The pair of tables that exists for one epoch alone, quoted. */
export function guardsOf(epoch: number, { landing }: Databases): readonly [string, string] {
  return [qualified(landing, `${GUARD_PREFIX}${epoch}_a`), qualified(landing, `${GUARD_PREFIX}${epoch}_b`)];
}
