import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { landingIdentities, settled } from '../support/followed.js';
import { Scenario } from '../support/scenario.js';

const image = (row: string): string =>
  `json_build_object('payment_id', ${row}.payment_id::text, 'merchant_id', ${row}.merchant_id::text, 'amount', ${row}.amount::text,
     'status', ${row}.status, 'payment_date', ${row}.payment_date::text, 'raw', ${row}.raw::text, 'tags', ${row}.tags::text)`;

/** Triggers write every change down in a table that is not replicated: what the trail is compared with. */
const SCHEMA = `
  create table payments (payment_id int8 primary key, merchant_id int4 not null, amount numeric(38,8), status text not null,
    payment_date timestamptz, raw bytea, tags text[]);
  alter table payments replica identity full;
  comment on column payments.status is 'Pending, Paid, Rejected or Reversed';
  create table log (seq bigserial, op text, xid text, before json, after json);
  create function note() returns trigger language plpgsql set timezone = 'UTC' as $$ begin
    insert into log (op, xid, before, after) values (
      case tg_op when 'INSERT' then 'c' when 'UPDATE' then 'u' when 'DELETE' then 'd' else 't' end, (txid_current() % 4294967296)::text,
      case when tg_op in ('UPDATE', 'DELETE') then ${image('old')} end, case when tg_op in ('INSERT', 'UPDATE') then ${image('new')} end);
    return null;
  end $$;
  create trigger changed after insert or update or delete on payments for each row execute function note();
  create trigger truncated after truncate on payments execute function note();`;

const KEPT = `payment_date is null or payment_date + interval '2 years' > now()`;

interface Moment {
  readonly at: string;
  readonly rows: unknown;
}

let scenario: Scenario;
const moments: Moment[] = [];

/** The table in Postgres as texts that both sides can print. */
async function inPostgres(): Promise<unknown> {
  return scenario.sql(
    `select payment_id::text, merchant_id::text, amount::text, status, to_char(payment_date at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as payment_date,
            encode(raw, 'hex') as raw, tags::text from payments where ${KEPT} order by payments.payment_id`,
  );
}

function printed(view: string, amount = 'amount', merchant = 'merchant_id'): string {
  return `select toString(payment_id) as payment_id, toString(${merchant}) as merchant_id, toDecimalString(${amount}, 8) as amount, status,
    toString(payment_date) as payment_date, lower(hex(raw)) as raw, tags from ${view}`;
}

/** Notes what the table is at a moment after the last commit and before the next. */
async function noteMoment(): Promise<void> {
  const rows = await inPostgres();
  const [now] = await scenario.sql(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at`,
  );
  moments.push({ at: now!['at'] as string, rows });
}

const ask = <T = Record<string, unknown>>(sql: string): Promise<T[]> => scenario.databases.clickhouse<T>(sql);
const shop = (): string => scenario.databases.clickhouseDatabase;

/** A few of them, from the first to the last. */
function some(count: number): Moment[] {
  return Array.from(
    { length: count },
    (_, i) => moments[Math.floor((i * (moments.length - 1)) / (count - 1))]!,
  );
}

async function expectMoments(which: readonly Moment[]): Promise<void> {
  for (const { at, rows } of which)
    expect(
      await ask(
        `select * from (${printed(`${shop()}.payments_at(ts = '${at}')`)}) order by toInt64(payment_id)`,
      ),
      at,
    ).toEqual(rows);
}

/** Every version in `_history` that stands at a moment is what the table was then. */
async function expectLives(which: readonly Moment[]): Promise<void> {
  for (const { at, rows } of which)
    expect(
      await ask(
        `select * from (${printed(`${shop()}.payments_history where valid_from <= '${at}' and (valid_to is null or valid_to > '${at}')`)})
          order by toInt64(payment_id)`,
      ),
      at,
    ).toEqual(rows);
}

interface Logged {
  readonly op: string;
  readonly xid: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** The trail's changes, in order, are those of the log. */
async function expectTrail(after = 0): Promise<void> {
  const logged = await scenario.sql(
    `select op, xid, before, after from log where seq > ${after} and (${KEPT.replaceAll('payment_date', "(before ->> 'payment_date')::timestamptz")}) and (${KEPT.replaceAll('payment_date', "(after ->> 'payment_date')::timestamptz")}) order by seq`,
  );
  const audited = await ask<{ op: string; xid: string; before: string | null; after: string | null }>(
    `select op, toString(xid) as xid, before, after from ${shop()}_audit.payments where op not in ('r', 'g') order by commit_lsn, ordinal`,
  );
  const parse = (text: string | null): unknown => (text === null ? null : JSON.parse(text));
  expect(
    audited.map((row): Logged => ({ ...row, before: parse(row.before), after: parse(row.after) })),
  ).toEqual(logged);
}

/** mulberry32: from 0 to 1. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const SEED = Number(process.env['SEED'] ?? 20261121);

/** One transaction of changes of every kind. */
function transaction(dice: () => number): string {
  const pick = (count: number): number => Math.floor(dice() * count);
  const statements = Array.from({ length: 1 + pick(4) }, () => {
    const id = 1 + pick(30);
    const other = 1 + pick(60);
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
        return `insert into payments values (${id}, ${pick(4)}, 1234567890123456789012345678.12345678 + ${pick(100)}, 'Pending', now() - interval '${pick(700)} days', '\\x00ff0a5c', array['a,"b', null, E'\\t'])
                on conflict (payment_id) do update set status = 'Pending', amount = excluded.amount`;
      case 3:
        return `delete from payments where payment_id = ${id}`;
      case 4:
        return `update payments set payment_id = ${other} where payment_id = ${id} and not exists (select 1 from payments where payment_id = ${other})`;
      case 5:
        return `update payments set payment_date = now() - interval '${pick(800)} days' where payment_id = ${id}`;
      case 6:
        return `update payments set payment_date = null, raw = null, amount = null where payment_id = ${id}`;
      case 7:
        return dice() < 0.3
          ? 'truncate payments'
          : `update payments set tags = null where payment_id = ${id}`;
      case 8:
        return `update payments set status = status where payment_id = ${id}`;
      default:
        return `update payments set status = '${['Paid', 'Rejected', 'Reversed'][pick(3)]}', merchant_id = ${pick(4)} where payment_id = ${id}`;
    }
  });
  return `begin; ${statements.join('; ')}; commit`;
}

describe('the history of a table', () => {
  const dice = random(SEED);

  beforeAll(async () => {
    scenario = await Scenario.open('audit', {
      schema: `${SCHEMA}
        insert into payments select i, 1, i + 0.5, 'Pending', now() - i * interval '1 day', '\\x00', '{x}' from generate_series(1, 12) i;
        truncate log;`,
      tables: {
        'public.payments': { history: true, retention: { column: 'payment_date', keep: '2 years' } },
      },
    });
    await scenario.walhouse.start();
    await scenario.applied();
  }, 90_000);
  afterAll(() => scenario.close());

  async function churn(transactions: number): Promise<void> {
    for (let i = 0; i < transactions; i += 1) {
      await scenario.sql(transaction(dice));
      if (i % 3 === 0) await noteMoment();
    }
  }

  it(`has every change once and in order, and shows the table as it was, after kills and redelivery (SEED=${SEED})`, async () => {
    await noteMoment();
    await churn(25);
    await scenario.rememberPlace();
    for (const point of ['before_truncate', 'after_insert:2']) {
      await scenario.walhouse.stop();
      await scenario.walhouse.start({ WALHOUSE_FAILPOINT: point });
      await churn(6);
      if (point === 'before_truncate') await scenario.sql('truncate payments');
      let isOver = false;
      const ended = scenario.walhouse.ended().then((how) => {
        isOver = true;
        return how;
      });
      const deadline = performance.now() + 20_000;
      while (!isOver && performance.now() < deadline) await Promise.all([churn(1), sleep(100)]);
      if (!isOver) throw new Error(`${point} was not met: ${scenario.walhouse.output.slice(-4000)}`);
      expect(await ended, point).toBe('SIGKILL');
      await scenario.walhouse.start();
    }
    await churn(3);
    await scenario.applied();
    await expectTrail();
    await expectMoments(some(6));
    await expectLives(some(4));
    await scenario.deliverAgain();
    await expectTrail();
    await ask(`optimize table ${shop()}_landing._walhouse_versions_payments final`);
    await expectMoments(some(4));
    await expectLives(some(3));
    await scenario.expectEqual();
  }, 180_000);

  it('is told nothing by a resync of what stood all along', async () => {
    const count = async (): Promise<unknown> =>
      ask(
        `select (select count() from ${shop()}_audit.payments) as trail, (select count() from ${shop()}.payments_history) as lives`,
      );
    const before = await count();
    const copies = await landingIdentities(scenario);
    await fetch(`${scenario.walhouse.url}/v1/tables/public.payments/resync`, { method: 'POST' });
    await expect.poll(() => landingIdentities(scenario), { timeout: 30_000 }).not.toEqual(copies);
    await settled(scenario);
    expect(await count()).toEqual(before);
    await expectMoments(moments.slice(-3));
  }, 60_000);

  it('follows columns that come in place without missing a change', async () => {
    await scenario.sql(`alter table payments add note text not null default 'none'`);
    await scenario.sql(
      `insert into payments (payment_id, merchant_id, status, note) values (900, 1, 'Pending', 'seen')`,
    );
    await scenario.sql(`update payments set note = 'changed' where payment_id = 900`);
    await settled(scenario);
    expect(
      await ask(
        `select op, note, changed from ${shop()}.payments_history where payment_id = 900 order by commit_lsn, ordinal`,
      ),
    ).toEqual([
      { op: 'c', note: 'seen', changed: [] },
      { op: 'u', note: 'changed', changed: ['note'] },
    ]);
    expect(await ask(`select op from ${shop()}_audit.payments where op = 'g'`)).toEqual([]);
    await noteMoment();
    await expectMoments(moments.slice(-3));
  }, 60_000);

  it('says where changes are missing because columns changed, and shows the table before and after', async () => {
    const before = moments.slice(-3);
    await scenario.walhouse.stop();
    await scenario.sql(`update payments set status = 'Paid' where payment_id = 900`);
    await scenario.sql(`insert into payments (payment_id, merchant_id, status) values (901, 1, 'Pending')`);
    await scenario.sql(`delete from payments where payment_id = 900`);
    await scenario.sql(
      `drop trigger changed on payments; alter table payments rename merchant_id to shop_id; alter table payments alter shop_id type int8`,
    );
    await scenario.sql(`update payments set status = 'Rejected' where payment_id = 901`);
    await scenario.walhouse.start();
    await settled(scenario);
    const trail = await ask<{ op: string; n: string }>(
      `select op, toString(count()) as n from ${shop()}_audit.payments
        where commit_lsn >= (select max(commit_lsn) from ${shop()}_audit.payments where op = 'g') group by op order by op`,
    );
    expect(trail.map(({ op }) => op)).toEqual(['g', 'r']);
    expect(
      await ask(
        `select op, shop_id, status, valid_to is null as stands from ${shop()}.payments_history where payment_id in (900, 901) order by payment_id, commit_lsn, ordinal`,
      ),
    ).toEqual([
      { op: 'c', shop_id: '1', status: 'Pending', stands: 0 },
      { op: 'u', shop_id: '1', status: 'Pending', stands: 0 },
      { op: 'g', shop_id: '1', status: 'Pending', stands: 0 },
      { op: 'r', shop_id: '1', status: 'Rejected', stands: 1 },
    ]);
    for (const { at, rows } of before)
      expect(
        await ask(
          `select * from (${printed(`${shop()}.payments_at(ts = '${at}')`, 'amount', 'shop_id')}) order by toInt64(payment_id)`,
        ),
        at,
      ).toEqual(rows);
    const [now] = await ask<{ rows: string; same: string }>(
      `select toString(count()) as rows, toString(countIf((payment_id, shop_id, status, note) in (select payment_id, shop_id, status, note from ${shop()}.payments))) as same
         from ${shop()}.payments_at(ts = '2299-01-01 00:00:00')`,
    );
    const [rows] = await scenario.sql(`select count(*) as n from payments where ${KEPT}`);
    expect(now).toEqual({ rows: rows!['n'], same: rows!['n'] });
  }, 90_000);
});
