import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Decoder, Scenario } from '../support/scenario.js';

const PAYMENTS = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const SCHEMA = `${PAYMENTS};
  create table ledger (id int primary key, v text);
  create table second (id int primary key, v text);
  create table elsewhere (id int);
  insert into merchants (merchant_id, name) select i, 'Merchant ' || i from generate_series(1, 3) i;
  insert into ledger select i, 'v' || i from generate_series(1, 100) i;`;

/** More than two batches. */
const LARGE = 210_000;
/** The service with its runtime, its buffers and a batch on its way. */
const PEAK_MB_MAX = 400;

/** Between two transactions; the decoders take turns. */
const POINTS = ['after_checkpoint', 'after_confirm'];

const decoders: Decoder[] = inject('servers').hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];

describe.each(decoders)('with %s', (decoder) => {
  /** For what no decoder has a part in. */
  const once = it.skipIf(decoder !== decoders[0]);
  let scenario: Scenario;
  const clients: pg.Client[] = [];

  beforeAll(async () => {
    scenario = await Scenario.open('transactions', {
      schema: SCHEMA,
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
        'public.ledger': {},
        'public.second': { history: false },
      },
      marts: ['payments'],
      decoder,
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
  afterAll(async () => {
    for (const client of clients) await client.end();
    await scenario?.close();
  });

  async function writer(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: scenario.databases.postgresUrl });
    clients.push(client);
    await client.connect();
    return client;
  }

  const confirmed = async (): Promise<bigint> => {
    const [row] = await scenario.databases.postgres<{ at: string }>(
      `select (confirmed_flush_lsn - '0/0')::text as at from pg_replication_slots where slot_name = $1`,
      [scenario.databases.name],
    );
    return BigInt(row!.at);
  };
  const walEnd = async (): Promise<bigint> => {
    const [row] = await scenario.databases.postgres<{ at: string }>(
      `select (pg_current_wal_insert_lsn() - '0/0')::text as at`,
    );
    return BigInt(row!.at);
  };

  it('nothing of what was rolled back arrives, in whole transactions or after savepoints', async () => {
    await scenario.sql(
      `begin; insert into ledger values (1000, 'never'); delete from ledger where id < 50; rollback`,
    );
    await scenario.sql(`begin;
      insert into ledger values (1001, 'stays');
      savepoint a; insert into ledger values (1002, 'never'); update ledger set v = 'never' where id = 1; rollback to a;
      update ledger set v = 'stays' where id = 2;
      savepoint b; delete from ledger where id = 3; savepoint c; insert into ledger values (1003, 'never');
      rollback to c; release b; insert into ledger values (1004, 'stays');
      savepoint d; truncate ledger; rollback to d;
      commit`);
    await scenario.sql(`do $$ begin
      for i in 1..50 loop
        begin
          insert into ledger values (2000 + i, 'maybe');
          if i % 2 = 0 then raise exception 'no'; end if;
        exception when raise_exception then update ledger set v = v || '.' where id = 4;
        end;
      end loop; end $$`);
    await scenario.expectEqual('public.ledger');
  });

  it('three writers whose changes interleave and who commit out of order arrive as they committed', async () => {
    const [a, b, c] = [await writer(), await writer(), await writer()];
    for (let round = 0; round < 10; round += 1) {
      const base = 10_000 + round * 10;
      for (const client of [a, b, c]) await client.query('begin');
      await a.query(`insert into ledger values (${base}, 'a')`);
      await b.query(`insert into ledger values (${base + 1}, 'b')`);
      await c.query(
        `insert into ledger values (${base + 2}, 'c'); update ledger set v = v || 'c' where id = 10`,
      );
      await b.query(`update ledger set v = v || 'b' where id = 20`);
      await a.query(`update ledger set v = v || 'a' where id = 30`);
      await b.query(`insert into ledger values (${base + 3}, 'b again')`);
      await c.query('commit');
      await a.query(
        `update ledger set v = v || 'a' where id = 10; update ledger set id = id + 5 where id = ${base + 2}`,
      );
      await a.query(round % 3 === 0 ? 'rollback' : 'commit');
      await b.query(`update ledger set v = v || 'b' where id = 10`);
      await b.query('commit');
    }
    await scenario.expectEqual('public.ledger');
  });

  it('the second of two transactions that are adjacent in the WAL arrives, though the process died after the first', async () => {
    for (const point of POINTS.filter((_, index) => decoders[index % decoders.length] === decoder)) {
      expect(await scenario.walhouse.stop()).toBe(0);
      // The first pass is the position that it starts with.
      await scenario.walhouse.start({ WALHOUSE_FAILPOINT: `${point}:2` });
      const ended = scenario.walhouse.ended();
      for (let i = 0; ; i += 1) {
        await scenario.sql(`do $$ begin
          for i in 1..20 loop update ledger set v = '${point} ${i} ' || i where id = 40; commit;
            insert into second values (i + ${i * 20}, '${point}') on conflict (id) do update set v = '${point}'; commit;
          end loop; end $$`);
        if ((await Promise.race([ended, sleep(50)])) === 'SIGKILL') break;
        expect(i).toBeLessThan(200);
      }
      await scenario.walhouse.start();
      await scenario.expectEqual('public.ledger', 'public.second');
    }
  });

  it('a transaction larger than a batch arrives whole though the process dies half way, and memory stays bounded', async () => {
    await scenario.applied();
    expect(await scenario.walhouse.stop()).toBe(0);
    await scenario.sql(`begin;
      insert into ledger select i, md5(i::text) from generate_series(1000000, 1000000 + ${LARGE} - 1) i;
      update ledger set v = 'changed' where id between 1100000 and 1110000;
      update ledger set id = id + 10000000 where id between 1120000 and 1120100;
      delete from ledger where id between 1200000 and 1250000;
      insert into second select i, 'with it' from generate_series(100000, 100100) i;
      commit`);
    await scenario.walhouse.start({ WALHOUSE_FAILPOINT: 'after_insert:2' });
    expect(await scenario.walhouse.ended()).toBe('SIGKILL');
    await scenario.walhouse.start();
    await scenario.expectEqual('public.ledger', 'public.second');
    const status = readFileSync(`/proc/${scenario.walhouse.pid}/status`, 'utf8');
    const peakMb = Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) / 1024;
    expect(peakMb).toBeLessThan(PEAK_MB_MAX);
  });

  once('an answer given while a transaction larger than a batch arrives is never half of it', async () => {
    await scenario.sql(`insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
      select i, 1, i, 1.00, 'Visa', 'Paid', now() - interval '1 hour' from generate_series(1, 100) i`);
    await scenario.applied();
    const seen = new Map<string, number>();
    let asking = true;
    const asked = (async () => {
      while (asking) {
        await sleep(20);
        const answer = await fetch(`${scenario.walhouse.url}/v1/merchants/1/risk`);
        if (answer.status !== 200) continue;
        const { total, rejected } = (await answer.json()) as Record<
          'total' | 'rejected',
          { count: number; amount: string }
        >;
        const text = `${total.count} of ${total.amount}, ${rejected.count} of ${rejected.amount} rejected`;
        seen.set(text, (seen.get(text) ?? 0) + 1);
      }
    })();
    const more = LARGE / 2;
    await scenario.sql(`begin;
      insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
        select 1000 + i, 1, i, 2.00, 'Visa', 'Paid', now() - interval '1 hour' from generate_series(1, ${more}) i;
      update payments set status = 'Rejected', amount = 3.00 where payment_id <= 100;
      delete from payments where payment_id > 1000 and payment_id <= 2000;
      commit`);
    await scenario.applied();
    await scenario.expectRiskEqual([1n, 2n]);
    asking = false;
    await asked;
    expect([...seen.keys()].sort()).toEqual(
      [
        '100 of 100.00, 0 of 0.00 rejected',
        `${more - 900} of ${(more - 1000) * 2 + 300}.00, 100 of 300.00 rejected`,
      ].sort(),
    );
  });

  it('the slot moves on through twenty thousand transactions that touch no synced table', async () => {
    const before = (await scenario.walhouse.status()).tables['public.ledger']!.rows_applied;
    await scenario.sql(
      `do $$ begin for i in 1..20000 loop insert into elsewhere values (i); commit; end loop; end $$`,
    );
    const end = await walEnd();
    // By itself: nobody waits for a position.
    await expect.poll(confirmed, { timeout: 30_000 }).toBeGreaterThanOrEqual(end);
    expect((await scenario.walhouse.status()).tables['public.ledger']!.rows_applied).toBe(before);
  });

  once('the slot moves on while only another database of the server is written', async () => {
    const url = inject('servers').postgres;
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    try {
      await other.query('create table if not exists walhouse_test_other_database (x int)');
      await other.query('insert into walhouse_test_other_database select generate_series(1, 200000)');
      const end = await walEnd();
      await expect.poll(confirmed, { timeout: 30_000 }).toBeGreaterThanOrEqual(end);
    } finally {
      await other.query('drop table if exists walhouse_test_other_database');
      await other.end();
    }
  });

  once('SIGTERM in the middle of a backlog ends with exit code 0, and nothing of it is lost', async () => {
    await scenario.sql(`do $$ begin
      for i in 1..300 loop
        insert into second select 1000000 + i * 1000 + j, 'backlog' from generate_series(1, 200) j; commit;
      end loop; end $$`);
    await scenario.sql(`insert into ledger select 5000000 + i, 'large' from generate_series(1, 150000) i`);
    expect(await scenario.walhouse.stop()).toBe(0);
    await scenario.sql(`update second set v = 'after' where id % 7 = 0`);
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
});
