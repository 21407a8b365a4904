import { randomUUID } from 'node:crypto';
import type { ClickHouseSettings } from '@clickhouse/client';
import { WalhouseError } from '../pipeline/errors.js';
import { failpoint } from '../pipeline/failpoint.js';
import type { Log } from '../pipeline/log.js';
import type { StoredOwner } from '../pipeline/sink.js';
import { Claims } from './claims.js';
import { Eviction, guardsOf } from './eviction.js';
import { constraintsOf, epochOf, queryIdOf, raiseFence, sameFence } from './fence.js';
import { qualified } from './identifier.js';
import { GONE_PREFIX, Leftovers, MADE_PREFIX } from './leftovers.js';
import type { Databases } from './names.js';
import { Phases } from './phases.js';
import type { Server } from './server.js';

/**
 * Who may write. Whoever begins to write claims the next epoch, as does a process that begins anew without an answer to all that it has sent; from then on whatever
 * was sent in an earlier one, however late it arrives, changes nothing. ClickHouse itself decides that, since a process cannot know that it was asleep, nor
 * what becomes of a request whose answer it has given up on:
 *
 * - A statement's query id names its epoch, and a constraint on every table refuses inserts of lower ones.
 * - It also says how many tables had been made. A table refuses what was sent before it was made, since that was meant for
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
  readonly #claims: Claims;
  readonly #eviction: Eviction;
  readonly #log: Log;
  readonly #leftovers: Leftovers;
  /** Kept until there is another; 0, below every claim, before the first. */
  #epoch = 0;
  /** From before a claim until all is done that begins its epoch: whether the one of before is ours, too. */
  #beginning: { readonly isOurs: boolean } | null = null;
  /** How many tables were made so far. */
  #made = 0;
  /** What was sent in this epoch and may yet arrive. */
  readonly #unanswered = new Set<string>();
  /** Some of it nobody waits for any more. */
  #gaveUp = false;
  /** What names the epoch is done in one. */
  readonly #epochs = new Phases();
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
    this.#server = servers.server;
    this.#asking = servers.asking;
    this.#databases = databases;
    this.#log = log;
    this.#claims = new Claims(servers.asking, databases.landing, instance, token);
    this.#leftovers = new Leftovers(servers.asking, databases.landing, log);
    this.#eviction = new Eviction({ server: servers.asking, databases, leftovers: this.#leftovers, log });
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Who writes, or did so last. */
  find(): Promise<StoredOwner | null> {
    return this.#claims.find();
  }

  /** An id for a statement that writes, and is about to be sent. */
  queryId(): string {
    const id = queryIdOf({ epoch: this.#epoch, made: this.#made }, this.#databases.views);
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
    await this.#epochs.settled();
    await this.#finishRenewal();
    return epochOf(queryId) < this.#epoch;
  }

  /**
   * Becomes the owner, in an epoch of its own; it stays in the one it has where that is the newest and nothing that was sent in it may yet
   * arrive. Throws `sink_taken_over` when other processes claim again and again at the same moment.
   */
  async claim(): Promise<void> {
    await this.#claims.open();
    const isNewest = (await this.#claims.lost()) === null;
    const isOurs = this.#epoch > 0 && isNewest && this.#beginning?.isOurs !== false;
    if (isOurs && this.#beginning === null && this.#unanswered.size === 0) return;
    await this.#begin(isOurs);
  }

  /**
   * The owner's: from here on nothing arrives any more that it has given up on. What is on its way meanwhile may be turned away, see
   * `hasRenewed`. Throws `sink_taken_over`.
   */
  async renew(): Promise<void> {
    if (!this.#wantsRenewal) return;
    await this.#epochs.change(async () => {
      if (!this.#wantsRenewal) return;
      const lost = await this.#claims.lost();
      if (lost !== null) throw lost;
      await this.#begin(true);
    });
  }

  /** Deletes or rewrites rows, on the condition that nobody has claimed since; this owner does not, until that is done. */
  deleting<T>(run: (still: string) => Promise<T>): Promise<T> {
    return this.#inEpoch(() => run(this.#claims.isStill(this.#epoch)));
  }

  /** The error for a statement that was turned away because another process writes now; null where that is not the reason. */
  takenOver(): Promise<WalhouseError | null> {
    return this.#claims.lost();
  }

  /** Turns late inserts into a table away that this owner has just made and the next may make again. */
  async fence(table: string, doing: string): Promise<void> {
    await this.#server.define(`alter table ${table} ${raiseFence(this.#epoch)}`, doing);
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
    await this.#inEpoch(async () => {
      this.#made += 1;
      const constraints = constraintsOf({ epoch: this.#epoch, made: this.#made });
      const made = qualified(this.#databases.landing, `${MADE_PREFIX}${randomUUID()}`);
      await this.#server.define(define(made, constraints), doing);
      await this.#rename(made, table, doing);
    });
  }

  /** Alters a table that is fenced: `add column a Int8, drop column b`. */
  async alter(
    table: string,
    changes: string,
    doing: string,
    settings: ClickHouseSettings = {},
  ): Promise<void> {
    await this.#inEpoch(() =>
      this.#server.command(`alter table ${table} ${sameFence(this.#epoch)}, ${changes}`, doing, settings),
    );
  }

  /** Two tables or views change places. */
  async exchange(one: string, other: string, doing: string): Promise<void> {
    await this.exchangeAll([[one, other]], doing);
  }

  /** The same with several pairs, in one statement. */
  async exchangeAll(pairs: readonly (readonly [string, string])[], doing: string): Promise<void> {
    await this.#inEpoch(() => {
      const guards = guardsOf(this.#epoch, this.#databases);
      const all = [guards, ...pairs].map(([one, other]) => `${one} and ${other}`);
      return this.#server.define(`exchange tables ${all.join(', ')}`, doing);
    });
  }

  async rename(from: string, to: string, doing: string): Promise<void> {
    await this.#inEpoch(() => this.#rename(from, to, doing));
  }

  /** Drops a table or view that may be there. */
  async drop(database: string, name: string, doing: string): Promise<void> {
    if (!(await this.exists(database, name))) return;
    const gone = goneName();
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
    const gone = goneName();
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

  async #rename(from: string, to: string, doing: string): Promise<void> {
    const [a] = guardsOf(this.#epoch, this.#databases);
    const away = qualified(this.#databases.landing, goneName());
    await this.#server.define(`rename table ${a} to ${away}, ${away} to ${a}, ${from} to ${to}`, doing);
  }

  /** Only who has written goes on without attaching anew. */
  get #wantsRenewal(): boolean {
    return this.#beginning === null ? this.#gaveUp : this.#beginning.isOurs;
  }

  /** Does what names the epoch, which stays the same until that is done. */
  async #inEpoch<T>(work: () => Promise<T>): Promise<T> {
    await this.#finishRenewal();
    return this.#epochs.within(work);
  }

  /** One that failed half way turns away what is of the epoch that we still have. */
  async #finishRenewal(): Promise<void> {
    if (this.#beginning !== null) await this.renew();
  }

  /** `isOurs`: the epoch of before is ours, too. */
  async #begin(isOurs: boolean): Promise<void> {
    if (!isOurs) this.#views.clear();
    this.#beginning = { isOurs };
    const epoch = await this.#claims.next();
    await this.#eviction.perform(epoch);
    if (!isOurs) await this.#eviction.dropLeft();
    // Somebody who claimed after us may have been quicker.
    const lost = await this.#claims.lost();
    if (lost !== null) throw lost;
    this.#epoch = epoch;
    this.#beginning = null;
    this.#unanswered.clear();
    this.#gaveUp = false;
    this.#log.info({ epoch }, 'this instance writes from now on');
  }
}

/** Whether nobody has ever written: the database, or Walhouse's own tables, do not exist. */
export function isNotThere(error: unknown): boolean {
  return error instanceof WalhouseError && /\(UNKNOWN_(TABLE|DATABASE)\b/.test(error.what);
}

function goneName(): string {
  return `${GONE_PREFIX}${randomUUID()}`;
}
