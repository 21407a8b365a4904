import { randomUUID } from 'node:crypto';
import type { ClickHouseSettings } from '@clickhouse/client';
import { sleep } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import { failpoint } from '../pipeline/failpoint.js';
import type { Log } from '../pipeline/log.js';
import type { StoredOwner } from '../pipeline/sink.js';
import { READ_MS } from './checkpoint.js';
import { nowOf } from './clock.js';
import { DURABLE } from './durability.js';
import { qualified, quoteName, quoteString } from './identifier.js';
import { GONE_PREFIX, Leftovers, MADE_PREFIX } from './leftovers.js';
import type { Databases } from './names.js';
import type { Server } from './server.js';

/** The constraint that turns late inserts away, followed by its epoch; on every table that Walhouse inserts into. */
const FENCE_PREFIX = 'walhouse_owner_';
const FENCES = /\bCONSTRAINT `?(walhouse_owner_\d+)`?/gi;
/** The constraint that a table keeps for as long as it is there: nothing enters it that was sent before it was made. */
const MADE = 'walhouse_made';
const ID_PREFIX = 'walhouse-';
const GUARD_PREFIX = '_walhouse_guard_';
/** Processes that claim at the same moment may get the same epoch, which is then nobody's, and claim again. */
const CLAIMS_MAX = 5;
const CLAIM_AGAIN_MS = 50;
/** A claim that arrives later than this counts for nothing: who sent it may have gone, and would still be taken for the owner. */
const CLAIM_S = 10;
/** How many tables are fenced at once. */
const FENCES_AT_ONCE = 4;
/** How long statements of an earlier owner may take to notice that they are cancelled. */
const ENDING_MS = 2_000;
const ENDING_LOOK_MS = 10;
/** One that waits for bytes of a process that sleeps is cancelled, though it stays listed. */
const ENDED_AFTER_MS = 300;

/**
 * Who may write. Whoever begins to write claims the next epoch, as does a process that begins anew without an answer to all that it has sent; from then on whatever
 * was sent in an earlier one, however late it arrives, changes nothing. ClickHouse itself decides that, since a process cannot know that it was asleep, nor
 * what becomes of a request whose answer it has given up on:
 *
 * - A statement's query id names its epoch, and a constraint on every table refuses inserts of lower ones.
 * - It also says how many tables had been made in that epoch. A table refuses what was sent before it was made, since that was meant for
 *   another one of its name, and what has become of its rows since may not be in this one.
 * - What gives a table or view another name names a pair of guard tables first, in the same statement. They exist for one epoch
 *   only, so it fails as a whole once another has begun. Tables that others may have are renamed away so before they are dropped.
 * - What alters a table names the constraint in the same statement, which has the epoch in its name.
 * - What an earlier owner's statements had begun is cancelled.
 */
export class Ownership {
  /** For statements in our name. */
  readonly #server: Server;
  /** For those that find out in whose name, and change that. */
  readonly #asking: Server;
  readonly #databases: Databases;
  readonly #table: string;
  readonly #instance: string;
  readonly #token: string;
  readonly #log: Log;
  readonly #leftovers: Leftovers;
  /** Kept until there is another; 0, below every claim, before the first. */
  #epoch = 0;
  /** How many tables were made so far. */
  #made = 0;
  /** What was sent in this epoch and may yet arrive. */
  readonly #unanswered = new Set<string>();
  /** Some of it nobody waits for any more. */
  #gaveUp = false;
  #renewing: Promise<unknown> = Promise.resolve();
  /** As they were made since another process has written, by name. */
  readonly #views = new Map<string, string>();

  /**
   * `instance`: how people find this process, e.g. `db1:4711 http://127.0.0.1:8080`. `token` tells owners apart; who has another's goes
   * on in its place.
   */
  constructor(
    servers: { readonly server: Server; readonly asking: Server },
    databases: Databases,
    instance: string,
    log: Log,
    token: string = randomUUID(),
  ) {
    this.#token = token;
    this.#server = servers.server;
    this.#asking = servers.asking;
    this.#databases = databases;
    this.#table = qualified(databases.landing, '_walhouse_owner');
    this.#instance = instance;
    this.#log = log;
    this.#leftovers = new Leftovers(servers.asking, databases.landing, log);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** A condition for statements that delete: that nobody has claimed since. */
  get still(): string {
    return `(select max(epoch) from ${this.#table}) <= ${this.#epoch}`;
  }

  /** Who writes, or did so last. */
  async find(): Promise<StoredOwner | null> {
    const [newest] = await this.#newest(READ_MS);
    if (newest === undefined) return null;
    const { epoch, token, instance } = newest;
    return { epoch: Number(epoch), instance, isUs: token === this.#token };
  }

  /** An id for a statement that writes. */
  queryId(): string {
    const id = `${ID_PREFIX}${this.#epoch}-${this.#made}-${this.#databases.views}-${randomUUID()}`;
    this.#unanswered.add(id);
    return id;
  }

  answered(queryId: string): void {
    this.#unanswered.delete(queryId);
  }

  gaveUp(queryId: string): void {
    if (this.#unanswered.has(queryId)) this.#gaveUp = true;
  }

  async hasRenewed(queryId: string): Promise<boolean> {
    await this.#renewing;
    return epochIn(queryId, ID_PREFIX) < this.#epoch;
  }

  /**
   * Becomes the owner, in an epoch of its own; it stays in the one it has where that is the newest and nothing that was sent in it may yet
   * arrive. Throws `sink_taken_over` when other processes claim again and again at the same moment.
   */
  async claim(): Promise<void> {
    await this.#asking.define(
      `create table if not exists ${this.#table} (
        epoch UInt64 comment 'Each owner has the next',
        token String comment 'Tells processes apart',
        instance String comment 'Host, process and address of the API',
        claimed_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = MergeTree
      order by epoch
      settings ${DURABLE}
      comment 'Which processes have written here, one after the other'`,
      'creating the table of owners',
    );
    const isOurs = this.#epoch > 0 && !(await this.#lost());
    if (isOurs && this.#unanswered.size === 0) return;
    await this.#begin(isOurs);
  }

  /**
   * The owner's: from here on nothing arrives any more that it has given up on. What is on its way meanwhile may be turned away, see
   * `hasRenewed`. Throws `sink_taken_over`.
   */
  async renew(): Promise<void> {
    if (!this.#gaveUp) return;
    if (await this.#lost()) throw takenOver(null);
    const renewed = this.#begin(true);
    this.#renewing = renewed.catch(() => undefined);
    await renewed;
  }

  /** The error for a statement that was turned away because another process writes now; null where that is not the reason. */
  async takenOver(): Promise<WalhouseError | null> {
    const newest = await this.#newest();
    return this.#isUs(newest) ? null : takenOver(newest[0]?.instance ?? null);
  }

  /** Turns late inserts into a table away that this owner has just made and the next may make again. */
  async fence(table: string, doing: string): Promise<void> {
    await this.#server.define(`alter table ${table} ${fence(this.#epoch, [])}`, doing);
  }

  /**
   * Makes a table that takes nothing which was sent before, for one of the same name. `define` gives the statement that makes it under
   * another name and with these constraints. Nobody else knows that name, and only the owner can give it the other.
   */
  async make(
    table: string,
    define: (name: string, constraints: readonly string[]) => string,
    doing: string,
  ): Promise<void> {
    this.#made += 1;
    const constraints = [ownersFence(this.#epoch), madeFence(this.#epoch, this.#made)];
    const made = qualified(this.#databases.landing, `${MADE_PREFIX}${randomUUID()}`);
    await this.#server.define(define(made, constraints), doing);
    await this.rename(made, table, doing);
  }

  /** Alters a table that is fenced: `add column a Int8, drop column b`. */
  async alter(
    table: string,
    changes: string,
    doing: string,
    settings: ClickHouseSettings = {},
  ): Promise<void> {
    const ours = `${FENCE_PREFIX}${this.#epoch}`;
    await this.#server.command(
      `alter table ${table} ${fence(this.#epoch, [ours], false)}, ${changes}`,
      doing,
      settings,
    );
  }

  /** Two tables or views change places. */
  async exchange(one: string, other: string, doing: string): Promise<void> {
    await this.exchangeAll([[one, other]], doing);
  }

  /** The same with several pairs, in one statement. */
  async exchangeAll(pairs: readonly (readonly [string, string])[], doing: string): Promise<void> {
    const all = [this.#guards(this.#epoch), ...pairs].map(([one, other]) => `${one} and ${other}`);
    await this.#server.define(`exchange tables ${all.join(', ')}`, doing);
  }

  async rename(from: string, to: string, doing: string): Promise<void> {
    const [a] = this.#guards(this.#epoch);
    const away = qualified(this.#databases.landing, `${GONE_PREFIX}${randomUUID()}`);
    await this.#server.define(`rename table ${a} to ${away}, ${away} to ${a}, ${from} to ${to}`, doing);
  }

  /** Drops a table or view that may be there. */
  async drop(database: string, name: string, doing: string): Promise<void> {
    if (!(await this.exists(database, name))) return;
    const gone = `${GONE_PREFIX}${randomUUID()}`;
    await this.rename(qualified(database, name), qualified(this.#databases.landing, gone), doing);
    this.#leftovers.remove(gone);
  }

  /** Makes a view, in the place of the one that is there. `define` gives the statement that makes it under another name. */
  async replaceView(
    database: string,
    name: string,
    define: (name: string) => string,
    doing: string,
  ): Promise<void> {
    const view = qualified(database, name);
    const statement = define('');
    if (this.#views.get(view) === statement && (await this.exists(database, name))) return;
    // Until it is known that this one is there.
    this.#views.delete(view);
    const gone = `${GONE_PREFIX}${randomUUID()}`;
    const made = qualified(this.#databases.landing, gone);
    await this.#server.define(define(made), doing);
    failpoint('before_view');
    if (await this.exists(database, name)) {
      await this.exchange(made, view, doing);
      this.#leftovers.remove(gone);
    } else await this.rename(made, view, doing);
    this.#views.set(view, statement);
  }

  async exists(database: string, name: string): Promise<boolean> {
    const rows = await this.#asking.rows<object>(
      'select 1 from system.tables where database = {database:String} and name = {name:String}',
      `looking for ${name}`,
      { database, name },
    );
    return rows.length > 0;
  }

  /** `isOurs`: the epoch of before is ours, too. */
  async #begin(isOurs: boolean): Promise<void> {
    if (!isOurs) this.#views.clear();
    const epoch = await this.#next();
    await this.#fenceOff(epoch);
    if (!isOurs) await this.#dropEarlier();
    // Somebody who claimed after us may have been quicker.
    if (await this.#lost()) throw takenOver(null);
    this.#epoch = epoch;
    this.#unanswered.clear();
    this.#gaveUp = false;
    this.#log.info({ epoch }, 'this instance writes from now on');
  }

  /** An epoch above all others, and nobody else's. */
  async #next(): Promise<number> {
    for (let claims = 0; claims < CLAIMS_MAX; claims += 1) {
      if (claims > 0) await sleep(Math.random() * CLAIM_AGAIN_MS);
      const now = quoteString(await nowOf(this.#asking));
      await this.#asking.define(
        `insert into ${this.#table} (epoch, token, instance)
         select max(epoch) + 1, ${quoteString(this.#token)}, ${quoteString(this.#instance)} from ${this.#table}
         having now64(6, 'UTC') < toDateTime64(${now}, 6, 'UTC') + interval ${CLAIM_S} second`,
        'claiming the tables',
      );
      const newest = await this.#newest();
      if (this.#isUs(newest)) return Number(newest[0]!.epoch);
    }
    throw takenOver(null);
  }

  /** Whether another process has claimed since, or nobody ever has. */
  async #lost(): Promise<boolean> {
    return !this.#isUs(await this.#newest());
  }

  #isUs(newest: readonly { readonly token: string }[]): boolean {
    return newest.length === 1 && newest[0]!.token === this.#token;
  }

  /** The newest claim; several where processes claimed at the same moment. */
  #newest(deadlineMs?: number): Promise<{ epoch: string; token: string; instance: string }[]> {
    return this.#asking.rows(
      `select toString(o.epoch) as epoch, token, instance from ${this.#table} as o
        order by o.epoch desc limit 1 with ties`,
      'looking who writes',
      {},
      deadlineMs,
    );
  }

  async #fenceOff(epoch: number): Promise<void> {
    const doing = 'shutting out an earlier instance';
    const { landing, views, audit } = this.#databases;
    const [a, b] = this.#guards(epoch);
    for (const guard of [a, b])
      await this.#asking.define(`create table if not exists ${guard} (x UInt8) engine = Null`, doing);
    // From here on no name changes but by us, so the tables below are the ones that stay.
    for (const { name } of await this.#left(GUARD_PREFIX))
      if (epochIn(name, GUARD_PREFIX) < epoch) await this.#dropLeft(name);
    const tables = await this.#asking.rows<{ database: string; name: string; made: string }>(
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
          const fences = [...table.made.matchAll(FENCES)].map(([, name]) => name!);
          // One of a later owner must not go: it keeps us out, and would let us and it write.
          if (fences.some((found) => epochIn(found, FENCE_PREFIX) > epoch)) throw takenOver(null);
          const name = qualified(table.database, table.name);
          await this.#asking.define(`alter table ${name} ${fence(epoch, fences)}`, doing);
        }
      }),
    );
    await this.#cancelEarlier(epoch);
  }

  /** Has what an earlier owner had replaced, or was making, removed. */
  async #dropEarlier(): Promise<void> {
    const gone = await this.#left(GONE_PREFIX);
    // Views that still fill tables go before those, and are read by nobody.
    for (const { name } of gone.filter(({ fills }) => fills === 1)) await this.#dropLeft(name);
    for (const { name } of gone.filter(({ fills }) => fills === 0)) this.#leftovers.remove(name);
  }

  /** Helpers that a process before us has left, and whether they are views that fill tables. */
  #left(prefix: string): Promise<{ name: string; fills: number }[]> {
    return this.#asking.rows(
      `select name, engine = 'MaterializedView' as fills from system.tables
        where database = {landing:String} and startsWith(name, {prefix:String})`,
      'looking for what an earlier instance has left',
      { landing: this.#databases.landing, prefix },
    );
  }

  #dropLeft(name: string): Promise<void> {
    const left = qualified(this.#databases.landing, name);
    return this.#asking.define(`drop table if exists ${left}`, 'dropping what an earlier instance has left');
  }

  /**
   * Ends statements that an earlier owner had begun. One that waits for the rest of its rows may be listed for longer, but is
   * cancelled and stores nothing.
   */
  async #cancelEarlier(epoch: number): Promise<void> {
    const earlier = `match(query_id, ${quoteString(`^walhouse-[0-9]+-[0-9]+-${this.#databases.views}-`)})
      and toUInt64OrZero(splitByChar('-', query_id)[2]) < ${epoch}`;
    const doing = 'cancelling what an earlier instance had begun';
    const deadline = Date.now() + ENDING_MS;
    let cancelledAtMs: number | null = null;
    for (;;) {
      const rows = await this.#asking.rows<{ query_id: string; cancelled: number }>(
        `select query_id, is_cancelled as cancelled from system.processes where ${earlier}`,
        doing,
      );
      if (rows.length === 0) return;
      if (rows.some(({ cancelled }) => cancelled === 0)) {
        // Its answer may take as long as the statement; what counts is that it is listed as cancelled.
        this.#asking.define(`kill query where ${earlier} async`, doing).catch((error: unknown) => {
          this.#log.warn({ err: error }, 'statements of an earlier instance could not be cancelled');
        });
      } else {
        cancelledAtMs ??= Date.now();
        if (Date.now() - cancelledAtMs > ENDED_AFTER_MS) return;
      }
      if (Date.now() > deadline) {
        this.#log.warn({ statements: rows.length }, 'statements of an earlier instance go on');
        return;
      }
      await sleep(ENDING_LOOK_MS);
    }
  }

  #guards(epoch: number): readonly [string, string] {
    const { landing } = this.#databases;
    return [qualified(landing, `${GUARD_PREFIX}${epoch}_a`), qualified(landing, `${GUARD_PREFIX}${epoch}_b`)];
  }
}

/** The epoch that a fence or a guard has in its name, or a statement in its id. */
function epochIn(name: string, prefix: string): number {
  return Number.parseInt(name.slice(prefix.length), 10);
}

/** Whether nobody has ever written: the database, or Walhouse's own tables, do not exist. */
export function isNotThere(error: unknown): boolean {
  return error instanceof WalhouseError && /\(UNKNOWN_(TABLE|DATABASE)\b/.test(error.what);
}

/**
 * What puts a table's fence up in the place of earlier ones, for `alter table`. Statements that are no owner's (a person's, a
 * command's) pass.
 */
function fence(epoch: number, earlier: readonly string[], mayBeGone = true): string {
  const drops = earlier.map((name) => `drop constraint ${mayBeGone ? 'if exists ' : ''}${quoteName(name)}`);
  return [...drops, `add ${ownersFence(epoch)}`].join(', ');
}

function ownersFence(epoch: number): string {
  return `constraint ${quoteName(`${FENCE_PREFIX}${epoch}`)} check not startsWith(queryID(), 'walhouse-') or ${partOfId(2)} >= ${epoch}`;
}

/** `made`: how many tables there were, with this one. */
function madeFence(epoch: number, made: number): string {
  return `constraint ${MADE} check not startsWith(queryID(), 'walhouse-') or (${partOfId(2)}, ${partOfId(3)}) >= (${epoch}, ${made})`;
}

/** A number from a statement's own id. */
function partOfId(place: number): string {
  return `toUInt64OrZero(splitByChar('-', queryID())[${place}])`;
}

function takenOver(instance: string | null): WalhouseError {
  return new WalhouseError('sink_taken_over', {
    what: `another instance writes to ClickHouse now${instance === null ? '' : ` (${instance})`}.`,
    why: 'Only one at a time may; what this one had still to store, the other one stores.',
    fix: 'nothing, this instance stands by; or end one of the two',
  });
}
