import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { cli } from '../support/cli.js';
import { openDomain, type DomainScenario } from '../support/domain-scenario.js';
import type { Scenario } from '../support/scenario.js';

/** Rows that this test inserts get ids from here, by test, so that none meets another's. */
let next = 1_000;
let first = 0;

let domain: DomainScenario;
let scenario: Scenario;
beforeAll(async () => {
  domain = await openDomain('banking', {
    sql: `
    insert into banking.consumers values (1, 'One', '{2,1}'), (2, 'Two', '{}'), (3, 'Three', '{3}');
    insert into banking.merchants values (1, 'Books', '01234'), (2, 'Coffee', '10115'), (3, 'Rail', '75001');
    insert into banking.banks values (1, 'Trust', '60311'), (2, 'Savings', '00100');
    ${pay(1)}; ${pay(2, { amount: 20.5, merchant_id: 'null', country_code: `'FR'` })};
    ${pay(3, { amount: 0.00001, consumer_id: 2 })}`,
  });
  scenario = domain.scenario;
  await scenario.rememberPlace();
});
afterAll(() => domain?.scenario.close());
beforeEach(() => {
  next += 1_000;
  first = next;
});

/** SQL that inserts a sound transaction of consumer 1 with merchant 1, but for what is said otherwise. */
function pay(id: number, other: Record<string, string | number> = {}): string {
  const values = {
    amount: 10,
    creation_date: `now() - interval '1 hour'`,
    execution_date: `now() - interval '10 minutes'`,
    label: `'Card payment'`,
    country_code: `'DE'`,
    consumer_id: 1,
    bank_id: 1,
    merchant_id: 1,
    ...other,
  };
  return `insert into banking.transactions (id, ${Object.keys(values).join(', ')}) values (${id}, ${Object.values(values).join(', ')})`;
}

async function ask<Row>(sql: string): Promise<Row[]> {
  await scenario.applied();
  return domain.ask<Row>(sql);
}

/** Every table and every mart that has an oracle. */
async function expectAllEqual(): Promise<void> {
  await scenario.expectEqual();
  await domain.expectMarts();
}

interface Rejected {
  readonly id: string;
  readonly reasons: readonly string[];
  readonly missing_fields: readonly string[];
  readonly unknown_parties: readonly string[];
  readonly compensates: string | null;
}

async function rejected(): Promise<Rejected[]> {
  return ask<Rejected>(
    `select toString(id) as id, reasons, missing_fields, unknown_parties, toString(compensates) as compensates
       from {database}.transactions_rejected as rejected where rejected.id between ${first} and ${first + 999} order by rejected.id`,
  );
}

async function net(): Promise<Record<string, string>> {
  const rows = await ask<{ id: string; net: string }>(
    `select toString(id) as id, toString(net_amount) as net from {database}.transactions_clean as clean
      where clean.id between ${first} and ${first + 999}`,
  );
  return Object.fromEntries(rows.map(({ id, net: left }) => [Number(id) - first, left]));
}

/** The first moment of the first whole day within the retention, in SQL. */
const WHOLE = `(date_trunc('day', (now() - interval '2 years') at time zone 'UTC') + interval '1 day') at time zone 'UTC'`;

it('each rule names the transactions that break it, all rules that one breaks, and no sound one', async () => {
  const planted: readonly [Record<string, string | number>, Partial<Rejected> | null][] = [
    [{}, null],
    [{ merchant_id: 'null' }, null],
    [{ amount: 10_000 }, null],
    [{ execution_date: `now() + interval '4 minutes'` }, null],
    [{ execution_date: WHOLE }, null],
    [{ amount: 'null' }, { reasons: ['missing field'], missing_fields: ['amount'] }],
    [{ creation_date: 'null' }, { reasons: ['missing field'], missing_fields: ['creation_date'] }],
    [{ execution_date: 'null' }, { reasons: ['missing field'], missing_fields: ['execution_date'] }],
    [{ label: `''` }, { reasons: ['missing field'], missing_fields: ['label'] }],
    [{ country_code: 'null' }, { reasons: ['missing field'], missing_fields: ['country_code'] }],
    [{ consumer_id: 'null' }, { reasons: ['missing field'], missing_fields: ['consumer_id'] }],
    [{ bank_id: 'null' }, { reasons: ['missing field'], missing_fields: ['bank_id'] }],
    [{ amount: 0 }, { reasons: ['amount zero'] }],
    [{ amount: -0.00001 }, { reasons: ['amount negative'] }],
    [{ amount: 10_000.00001 }, { reasons: ['amount above the bound'] }],
    [{ execution_date: `${WHOLE} - interval '1 microsecond'` }, { reasons: ['older than retention'] }],
    [{ execution_date: `now() + interval '1 hour'` }, { reasons: ['in the future'] }],
    [{ creation_date: `now() + interval '1 hour'` }, { reasons: ['in the future'] }],
    [{ country_code: `'UK'` }, { reasons: ['unknown country'] }],
    [{ country_code: `'de'` }, { reasons: ['unknown country'] }],
    [{ consumer_id: 99 }, { reasons: ['unknown party'], unknown_parties: ['consumer'] }],
    [
      { bank_id: 99, merchant_id: 99 },
      { reasons: ['unknown party'], unknown_parties: ['bank', 'merchant'] },
    ],
    [
      {
        amount: -20_000,
        label: 'null',
        execution_date: `now() + interval '1 day'`,
        country_code: `'XX'`,
        consumer_id: -1,
      },
      {
        reasons: ['missing field', 'amount negative', 'in the future', 'unknown country', 'unknown party'],
        missing_fields: ['label'],
        unknown_parties: ['consumer'],
      },
    ],
  ];
  await scenario.sql(planted.map(([row], index) => pay(first + index, row)).join('; '));
  const expected = planted.flatMap(([, found], index) =>
    found === null
      ? []
      : [{ id: String(first + index), missing_fields: [], unknown_parties: [], compensates: null, ...found }],
  );
  expect(await rejected()).toEqual(expected);
  expect(Object.keys(await net())).toEqual(
    planted.flatMap(([, found], i) => (found === null ? [String(i)] : [])),
  );
  await expectAllEqual();
});

it('a transaction past its retention is in no mart; moved back within, it is again', async () => {
  await scenario.sql(
    `${pay(first)}; ${pay(first + 1, { execution_date: `now() - interval '2 years 1 second'` })}`,
  );
  expect(Object.keys(await net())).toEqual(['0']);
  await scenario.sql(
    `update banking.transactions set execution_date = now() - interval '3 years' where id = ${first}`,
  );
  expect([await net(), await rejected()]).toEqual([{}, []]);
  const seen = `select id from {database}.consumer_history where id between ${first} and ${first + 999}`;
  expect(await ask(seen)).toEqual([]);
  await scenario.sql(
    `update banking.transactions set execution_date = now() - interval '1 day' where id >= ${first}`,
  );
  expect(Object.keys(await net())).toEqual(['0', '1']);
  expect(await ask(seen)).toHaveLength(2);
  await expectAllEqual();
});

it('compensating rows take off what they say, of the same consumer alone, and their retraction gives it back', async () => {
  const taking = (id: number, other: Record<string, string | number>): Record<string, string | number> => ({
    label: `'compensates ${id}'`,
    ...other,
  });
  await scenario.sql(`
    ${[0, 1, 2, 3].map((index) => pay(first + index)).join('; ')};
    ${pay(first + 10, taking(first, { amount: -10 }))};
    ${pay(first + 11, taking(first + 1, { amount: -2.5 }))}; ${pay(first + 12, taking(first + 1, { amount: -0.00001 }))};
    ${pay(first + 13, taking(first + 2, { amount: -10, consumer_id: 2 }))};
    ${pay(first + 14, taking(first + 3, { amount: -10, country_code: `'XX'` }))};
    ${pay(first + 15, taking(first + 500, { amount: -10 }))}`);
  expect(await net()).toEqual({ 1: '7.49999', 2: '10', 3: '10' });
  const found = new Map(
    (await rejected()).map(({ id, reasons, compensates }) => [Number(id) - first, { reasons, compensates }]),
  );
  expect(found.get(0)).toEqual({ reasons: ['compensated'], compensates: null });
  expect(found.get(10)).toEqual({ reasons: ['amount negative'], compensates: String(first) });
  expect(found.get(12)).toEqual({ reasons: ['amount negative'], compensates: String(first + 1) });
  for (const id of [13, 15])
    expect(found.get(id)).toEqual({ reasons: ['amount negative'], compensates: null });
  expect(found.get(14)).toEqual({ reasons: ['amount negative', 'unknown country'], compensates: null });
  await expectAllEqual();

  await scenario.sql(`
    delete from banking.transactions where id in (${first + 10}, ${first + 11});
    update banking.transactions set amount = 0.00001 where id = ${first + 1}`);
  expect(await net()).toEqual({ 0: '10', 2: '10', 3: '10' });
  await expectAllEqual();
});

it('a duplicate counts until it is undone, by a delete as by a row of its own', async () => {
  const kpis = async (): Promise<unknown> =>
    (
      await ask(
        `select transactions, toString(amount) as amount, consumers from {database}.merchant_kpis_daily where merchant_id = 3`,
      )
    )[0];
  await scenario.sql(
    `${pay(first, { merchant_id: 3 })}; ${pay(first + 1, { merchant_id: 3, consumer_id: 2 })}`,
  );
  expect(await kpis()).toEqual({ transactions: '2', amount: '20', consumers: '2' });
  await scenario.sql(`${pay(first + 2, { merchant_id: 3 })}; ${pay(first + 3, { merchant_id: 3 })}`);
  expect(await kpis()).toEqual({ transactions: '4', amount: '40', consumers: '2' });
  await scenario.sql(`
    delete from banking.transactions where id = ${first + 2};
    ${pay(first + 4, { amount: -10, merchant_id: 3, label: `'compensates ${first + 3}'` })}`);
  expect(await kpis()).toEqual({ transactions: '2', amount: '20', consumers: '2' });
  await expectAllEqual();
});

it('one correction changes the features of the consumers concerned, and of no other', async () => {
  type Features = Record<string, unknown> & { consumer_id: number };
  const features = (): Promise<Features[]> =>
    ask<Features>('select * from {database}.consumer_features order by consumer_id');
  await scenario.sql(
    `insert into banking.consumers values (${first}, 'New', '{3,1}'), (${first + 1}, 'Newer', '{}')`,
  );
  const day = `date_trunc('day', now() at time zone 'UTC' - interval '10 days') at time zone 'UTC'`;
  await scenario.sql(`
    ${pay(first, { consumer_id: first, merchant_id: 3, amount: 30, execution_date: `${day} + interval '5 hours'` })};
    ${pay(first + 1, { consumer_id: first, merchant_id: 2, amount: 0.5, execution_date: `${day} + interval '23 hours'` })};
    ${pay(first + 2, { consumer_id: first, merchant_id: 2, amount: 1, country_code: `'FR'`, execution_date: day })}`);
  const before = await features();
  const weekday = new Date(Date.now() - 10 * 86_400_000).getUTCDay() || 7;
  const at = (length: number, places: Record<number, string>): string[] =>
    Array.from({ length }, (_, place) => places[place] ?? '0');
  expect(before.find(({ consumer_id: id }) => id === first)).toEqual({
    consumer_id: first,
    recency_days: 10,
    frequency: '3',
    monetary_total: 31.5,
    monetary_mean: 10.5,
    preferred_merchants: [2, 3],
    prefered_merchants: [3, 1],
    transactions_at_prefered: '1',
    countries: ['DE', 'FR'],
    country_transactions: ['2', '1'],
    weekday_transactions: at(7, { [weekday - 1]: '3' }),
    hour_transactions: at(24, { 0: '1', 5: '1', 23: '1' }),
  });

  await scenario.sql(`update banking.transactions set consumer_id = ${first + 1} where id = ${first}`);
  const after = await features();
  const changed = after.filter((row, index) => JSON.stringify(row) !== JSON.stringify(before[index]));
  expect(
    changed.map(({ consumer_id: id, frequency, monetary_total: total }) => [id, frequency, total]),
  ).toEqual([
    [first, '2', 1.5],
    [first + 1, '1', 30],
  ]);
  await expectAllEqual();
});

it('a party that is entered late makes its transactions clean, and one that is deleted makes them rejected', async () => {
  await scenario.sql(`${pay(first, { merchant_id: first })}; ${pay(first + 1, { consumer_id: first })}`);
  expect(await net()).toEqual({});
  await scenario.sql(
    `insert into banking.merchants values (${first}, 'Late', null); insert into banking.consumers values (${first}, 'Late')`,
  );
  expect(await net()).toEqual({ 0: '10', 1: '10' });
  await scenario.sql(`delete from banking.merchants where id = ${first}`);
  expect(await net()).toEqual({ 1: '10' });
  await expectAllEqual();
});

it('a consumer’s history is one range of the sort key, is right after redelivery, and verify finds it so', async () => {
  await scenario.sql(`
    insert into banking.transactions
    select ${first} + i, 1, now() - i * interval '1 minute', now() - i * interval '1 minute', 'Card payment', 'DE', 100 + i % 50, 1, 1
    from generate_series(0, 9999) as i;
    update banking.transactions set consumer_id = 101 where consumer_id = 100;
    update banking.transactions set consumer_id = null where consumer_id = 103;
    update banking.transactions set execution_date = execution_date - interval '1 day', label = 'Moved' where consumer_id = 102;
    delete from banking.transactions where consumer_id = 104;`);
  next += 10_000;
  await scenario.deliverAgain();
  await expectAllEqual();

  const plan = (
    await ask<{ explain: string }>(
      `explain indexes = 1 select * from {database}.consumer_history where consumer_id = 101`,
    )
  ).map(({ explain }) => explain.trim());
  expect(plan, plan.join('\n')).toContain('PrimaryKey');
  const [, read, all] =
    /^Granules: (\d+)\/(\d+)$/.exec(plan.findLast((line) => line.startsWith('Granules:')) ?? '') ?? [];
  expect(Number(read), plan.join('\n')).toBeLessThan(Number(all) / 2);

  const verified = await cli(['verify', '--config', scenario.walhouse.configPath, '--json']);
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
  expect(verified.stdout).toContain('banking_history_rows');
});

it('retention and erasure reach the histories', async () => {
  const { clickhouseDatabase: database } = scenario.databases;
  await scenario.sql(`
    insert into banking.consumers values (${first}, 'Leaving');
    ${pay(first, { consumer_id: first })}; ${pay(first + 1, { consumer_id: first, execution_date: 'null' })};
    ${pay(first + 2, { execution_date: `now() - interval '2 years 1 day'` })}`);
  const held = (condition: string): Promise<{ rows: string }[]> =>
    ask(`select count() as rows from {database}.banking_history_rows where ${condition}`);
  expect(await held(`consumer_id = ${first}`)).toEqual([{ rows: '2' }]);
  const command = (...args: string[]) => cli([...args, '--config', scenario.walhouse.configPath]);
  const purged = await command('retention', '--json');
  expect(purged.code, purged.stdout + purged.stderr).toBe(0);
  expect(purged.stdout).toContain(`${database}.banking_history_rows`);
  expect(await held('execution_date < now() - interval 2 year')).toEqual([{ rows: '0' }]);

  await scenario.sql(`
    delete from banking.transactions where consumer_id = ${first}; delete from banking.consumers where id = ${first}`);
  await scenario.applied();
  const erased = await command('erase', 'banking.consumers', '--key', String(first));
  expect(erased.code, erased.stdout + erased.stderr).toBe(0);
  expect(await held(`consumer_id = ${first}`)).toEqual([{ rows: '0' }]);
});

it('both lists of countries are the 249 codes of ISO 3166-1', async () => {
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  const pairs = letters.flatMap((a) => letters.map((b) => a + b));
  const [postgres] = await scenario.sql(
    `select array_agg(code order by code collate "C") as codes from unnest('{${pairs.join(',')}}'::text[]) as code where banking.is_country(code)`,
  );
  const clickhouse = await ask<{ code: string }>(
    'select code from {database}.banking_countries order by code',
  );
  expect(clickhouse.map(({ code }) => code)).toEqual(postgres!['codes']);
  expect(clickhouse).toHaveLength(249);
  // Node knows names of regions besides these, and gives back the code itself where it knows none.
  const names = new Intl.DisplayNames('en', { type: 'region' });
  expect(clickhouse.filter(({ code }) => names.of(code) === code)).toEqual([]);
});
