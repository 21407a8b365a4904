import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { cli } from '../support/cli.js';
import type { Instance } from './instance.js';
import type { Action } from './plan.js';
import { POOL_MERCHANTS } from './transfers.js';
import { DATABASE, SLOT, type World } from './world.js';

/** How long a failpoint is waited for before the process is killed without it. */
const FAILPOINT_MS_MAX = 15_000;
const STANDBY_MS_MAX = 15_000;
const ANSWER_MS_MAX = 10_000;
const SLOW_MS = 150;
const REPAIR_MS_MAX = 4_000;

/** Does the steps of a plan to the world. The steps of one lane come one after another, those of several lanes beside each other. */
export class Hand {
  readonly #world: World;
  /** Tables whose columns or files have changed since `changes` was last taken. */
  #changed = new Set<string>();
  lastChangeAtMs = 0;
  #prepared = 0;
  #bulkFrom = 1;

  constructor(world: World) {
    this.#world = world;
  }

  takeChanges(): ReadonlySet<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  async do(action: Action): Promise<void> {
    const world = this.#world;
    const { postgres, clickhouse, links } = world;
    switch (action.kind) {
      case 'kill':
        await world.active.kill();
        await sleep(action.downMs);
        return world.active.start();
      case 'terminate':
        await world.active.terminate();
        await sleep(action.downMs);
        return world.active.start();
      case 'suspend':
        return world.active.suspend(action.forMs);
      case 'failpoint':
        return this.#dieAt(`${action.name}:${action.passes}`, action.provoke);
      case 'sleeper':
        return this.#sleepAt(`${action.name}:${action.passes}:stop`, action.besideMs);
      case 'take_over':
        return this.#takeOver(action.by, action.besideMs);
      case 'kill_standby': {
        const [, second] = world.instances;
        await second.start();
        await sleep(action.besideMs);
        return second.kill();
      }
      case 'postgres_restart':
        return postgres.revive(null, action.downMs);
      case 'postgres_crash':
        return postgres.revive('SIGQUIT', action.downMs);
      case 'postgres_kill':
        return postgres.revive('SIGKILL', action.downMs);
      case 'clickhouse_restart':
        return clickhouse.revive(null, action.downMs);
      case 'clickhouse_kill':
        return clickhouse.revive('SIGKILL', action.downMs);
      case 'postgres_suspend':
        return postgres.suspend(action.forMs);
      case 'clickhouse_suspend':
        return clickhouse.suspend(action.forMs);
      case 'link_cut':
      case 'link_silent':
      case 'link_answers_lost': {
        const link = links[action.link];
        link.become(
          action.kind === 'link_cut' ? 'cut' : action.kind === 'link_silent' ? 'silent' : 'answers_lost',
        );
        await sleep(action.forMs);
        return link.become('clear');
      }
      case 'link_slow':
        links[action.link].delay(SLOW_MS);
        await sleep(action.forMs);
        return links[action.link].delay(0);
      case 'link_late':
        links.clickhouse.become('late');
        await sleep(action.forMs);
        return links.clickhouse.deliver(action.laterMs);
      case 'link_blip':
        return links[action.link].cut();
      case 'end_sender':
        return this.#sql(
          `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${SLOT}'`,
        );
      case 'checkpoint':
        return this.#sql('select pg_switch_wal()', 'checkpoint');
      case 'merge':
        return this.#merge();
      case 'resync':
        return this.#resync(action.table);
      case 'repair':
        return this.#repair(action.table, action.keys);
      case 'pause':
        return this.#pause(action.forMs);
      case 'verify':
        return this.#verify(action.table);
      default:
        return this.#change(action);
    }
  }

  /** What somebody does in the source; done again when Postgres went away meanwhile, so each stands being done twice. */
  async #change(action: Action): Promise<void> {
    switch (action.kind) {
      case 'add_column':
        return this.#ddl(
          action.table,
          `alter table ${action.table} add column if not exists "${action.name}" ${action.type}`,
        );
      case 'drop_column':
        return this.#ddl(action.table, `alter table ${action.table} drop column if exists "${action.name}"`);
      case 'rename_column':
        return this.#ddl(
          action.table,
          `do $$ begin
             if exists (select from pg_attribute where attrelid = '${action.table}'::regclass and attname = '${action.name}') then
               alter table ${action.table} rename column "${action.name}" to "${action.to}";
             end if;
           end $$`,
        );
      case 'retype_column':
        return this.#ddl(
          action.table,
          `alter table ${action.table} alter column "${action.name}" type ${action.to}`,
        );
      case 'change_among_rows':
        return this.#ddl(
          action.table,
          `begin;
           update items set name = name || '<' where id in (select id from items limit 5);
           alter table items add column if not exists "${action.name}" text default 'x';
           update items set "${action.name}" = 'y' where id in (select id from items limit 9);
           commit`,
        );
      case 'column_that_came_and_went':
        return this.#ddl(
          action.table,
          `begin;
           alter table ${action.table} add column ${action.name} int4;
           update ${action.table} set ${action.name} = 1 where ctid in (select ctid from ${action.table} limit 20);
           alter table ${action.table} drop column ${action.name};
           commit`,
        );
      case 'enum_label':
        return this.#ddl('items', `alter type kind add value if not exists '${action.name}'`);
      case 'rewrite_rows':
        return this.#ddl(
          action.table,
          action.table === 'items'
            ? `alter table items alter column name type text using upper(name)`
            : `alter table docs alter column title type text using upper(title)`,
        );
      case 'vacuum_full':
        return this.#ddl(action.table, `vacuum full ${action.table}`);
      case 'comment':
        return this.#ddl(action.table, `comment on table ${action.table} is 'as of ${Date.now()}'`);
      case 'truncate':
        return this.#truncate(action.table, action.refill);
      case 'large_transaction':
        return this.#largeTransaction(action.rows, action.commit);
      case 'prepared_transaction':
        return this.#preparedTransaction(action.openMs, action.commit);
      case 'shift_keys':
        return this.#sql(
          action.table === 'readings'
            ? `update readings set station = left(md5(random()::text), 16)`
            : `update ${action.table} set id = -id where id in (select id from ${action.table} order by random() limit 300)`,
        );
      default:
        throw new Error(`no such step: ${action.kind}`);
    }
  }

  async #ddl(table: string, sql: string): Promise<void> {
    await this.#sql(sql);
    this.#changed.add(`public.${table}`);
    this.lastChangeAtMs = performance.now();
  }

  async #sql(...statements: string[]): Promise<void> {
    await this.#world.persist(async (client) => {
      // Behind a table's writers rather than before them for ever.
      await client.query(`set lock_timeout = '5s'`);
      for (const statement of statements) await client.query(statement);
    });
  }

  async #truncate(table: string, refill: boolean): Promise<void> {
    // The pool of payments that questions are about is there in every transaction.
    const kept = refill ? 'true' : table === 'payments' ? 'payment_id < 0' : 'false';
    await this.#sql(`begin;
      lock table ${table} in access exclusive mode;
      create temp table kept on commit drop as select * from ${table} where ${kept};
      truncate ${table};
      insert into ${table} select * from kept;
      commit`);
  }

  /** Larger than a batch of the service where `rows` is large; the pool is changed before and after, so half of it would show. */
  async #largeTransaction(rows: number, commit: boolean): Promise<void> {
    const from = this.#bulkFrom;
    this.#bulkFrom += rows;
    const move = (half: number): string =>
      `update payments set merchant_id = ${POOL_MERCHANTS[0]} + (merchant_id - ${POOL_MERCHANTS[0]} + 3) % 8
        where payment_id between -2000 and -1 and payment_id % 2 = ${half}`;
    await this.#world.persist(async (client) => {
      await client.query('begin');
      await client.query(move(0));
      await client.query('delete from bulk where id < 1000000000');
      await client.query(
        `insert into bulk select i, txid_current(), repeat('v', 50) from generate_series(${from}, ${from + rows - 1}) i`,
      );
      await client.query(
        `update bulk set v = 'changed' where id between ${from} and ${from + Math.min(rows, 5_000)}`,
      );
      await client.query(move(-1));
      await client.query(commit ? 'commit' : 'rollback');
    });
  }

  async #preparedTransaction(openMs: number, commit: boolean): Promise<void> {
    const name = `chaos_${(this.#prepared += 1)}`;
    const there = async (client: pg.Client): Promise<boolean> =>
      (await client.query('select from pg_prepared_xacts where gid = $1', [name])).rowCount === 1;
    await this.#world.persist(async (client) => {
      if (await there(client)) return;
      await client.query(`begin;
        update docs set revision = revision + 1 where id = 7;
        insert into ledger (id, account, amount) values (${5_000_000_000 + this.#prepared}, 1, 0);
        prepare transaction '${name}'`);
    });
    await sleep(openMs);
    await this.#world.persist(async (client) => {
      if (await there(client)) await client.query(`${commit ? 'commit' : 'rollback'} prepared '${name}'`);
    });
  }

  async #dieAt(failpoint: string, provoke: Action | null): Promise<void> {
    const { active, findings } = this.#world;
    await active.kill();
    await active.start(failpoint);
    const died = active.died(FAILPOINT_MS_MAX);
    if (provoke?.kind === 'resync') {
      // As soon as it takes orders.
      const until = performance.now() + FAILPOINT_MS_MAX;
      while (performance.now() < until && !findings.broken.aborted) {
        const over = await Promise.race([died.then(() => true), sleep(200, false)]);
        if (over || (await post(active, `/v1/tables/${provoke.table}/resync`)) === 202) break;
      }
    } else if (provoke !== null) await this.do(provoke);
    findings.count((await died) ? `died at:${failpoint.split(':')[0]}` : 'failpoint not met');
    await active.kill();
    await active.start();
  }

  /** Stopped where it stands, with its sessions ended as a network would end them; it wakes up beside one that has taken its place. */
  async #sleepAt(failpoint: string, besideMs: number): Promise<void> {
    const world = this.#world;
    const { findings } = world;
    const [first, second] = world.instances;
    await first.kill();
    await first.start(failpoint);
    const asleep = await first.asleep(FAILPOINT_MS_MAX);
    findings.count(asleep ? `slept at:${failpoint.split(':')[0]}` : 'failpoint not met');
    if (asleep) {
      await this.#sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'walhouse'`,
      );
      await second.start();
      await this.#untilState(second, ['streaming']);
      first.wake();
      await sleep(besideMs);
      world.instances = [second, first];
    }
    await first.kill();
    if (!asleep) await first.start();
  }

  async #takeOver(by: 'kill' | 'terminate', besideMs: number): Promise<void> {
    const world = this.#world;
    const [first, second] = world.instances;
    await second.start();
    // Where the first was between two connections, the second may have been quicker.
    await this.#untilState(second, ['standby', 'streaming']);
    await sleep(besideMs);
    world.instances = [second, first];
    await (by === 'kill' ? first.kill() : first.terminate());
  }

  /** Waits for a bounded time until the instance says that it is in one of these states. */
  async #untilState({ walhouse }: Instance, states: readonly string[]): Promise<void> {
    const until = performance.now() + STANDBY_MS_MAX;
    while (performance.now() < until && !this.#world.findings.broken.aborted) {
      const state = await walhouse.status().then(
        (status) => status.state,
        () => '',
      );
      if (states.includes(state)) return;
      await sleep(100);
    }
  }

  async #merge(): Promise<void> {
    const world = this.#world;
    try {
      for (const table of ['payments', 'ledger', 'docs', 'items'])
        await world.ask(`optimize table ${DATABASE}_landing.${table} final`);
      await world.ask(`optimize table ${DATABASE}.payments_7d final`);
    } catch {
      // ClickHouse is away, or the table is being exchanged.
      world.findings.count('not possible:merge');
    }
  }

  async #resync(table: string): Promise<void> {
    const { findings } = this.#world;
    const status = await post(this.#world.active, `/v1/tables/${table}/resync`);
    if (status !== 202) findings.count(`not possible:resync`);
    if (status !== null && ![202, 409, 503].includes(status))
      findings.violation(`resync of ${table} was answered ${status}`);
  }

  /** Keys of rows, and of one that never was. In the middle of everything it may be refused, but never changes what is read. */
  async #repair(table: string, count: number): Promise<void> {
    const { findings } = this.#world;
    const key = table === 'merchants' ? 'merchant_id' : table === 'payments' ? 'payment_id' : 'id';
    const keys = await this.#world.persist(async (client) => {
      const { rows } = await client.query<{ key: string }>(
        `select ${key}::text as key from ${table} order by random() limit ${count}`,
      );
      return [...rows.map((row) => [row.key]), ['-987654321']];
    });
    let status: number | null = null;
    const until = performance.now() + REPAIR_MS_MAX;
    // Something is always broken, and who writes may be another one by now: as an operator would, until it is possible.
    const notNow = [409, 503];
    do {
      if (status !== null) await sleep(200);
      status = await post(this.#world.active, `/v1/tables/public.${table}/repair`, { keys });
    } while (
      status !== null &&
      notNow.includes(status) &&
      performance.now() < until &&
      !findings.broken.aborted
    );
    if (status !== 200) findings.count('not possible:repair');
    if (status !== null && ![200, ...notNow].includes(status))
      findings.violation(`repair of ${table} was answered ${status}`);
  }

  async #pause(forMs: number): Promise<void> {
    const { active, findings } = this.#world;
    const status = await post(active, '/v1/pause');
    if (status === null || status >= 300) findings.count('not possible:pause');
    if (status === 500) findings.violation('pause was answered 500');
    await sleep(forMs);
    await post(active, '/v1/resume');
  }

  /** In the middle of everything it may find no answer, but never a difference. */
  async #verify(table: string): Promise<void> {
    const { active, findings } = this.#world;
    const { code, stdout, stderr } = await cli([
      'verify',
      table,
      '--json',
      '--config',
      active.walhouse.configPath,
    ]);
    if (code === 0) {
      findings.count('verified');
      return;
    }
    const line = stdout.trim().split('\n').at(-1) ?? '';
    const verdict = line.startsWith('{')
      ? (JSON.parse(line) as { tables: { verdict: string }[] }).tables[0]?.verdict
      : null;
    findings.count(`not possible:verify`);
    findings.note(`verify of ${table} ended with ${code}: ${line.slice(0, 600)} ${stderr.slice(-600)}`);
    if (verdict === 'different')
      findings.violation(`verify of ${table} says that it is different: ${line.slice(0, 2_000)}`);
  }
}

/** The status of the answer; null where there is none. */
async function post(instance: Instance, path: string, body?: object): Promise<number | null> {
  try {
    const response = await fetch(`${instance.walhouse.url}${path}`, {
      method: 'POST',
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return null;
  }
}
