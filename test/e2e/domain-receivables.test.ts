import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createGenerator } from '../../src/dev/receivables/generator.js';
import { LiveTraffic } from '../../src/dev/traffic.js';
import { silentLog } from '../../src/pipeline/log.js';
import { openDomain, type DomainScenario } from '../support/domain-scenario.js';

const TODAY = `(now() at time zone 'UTC')::date`;

let domain: DomainScenario;

/**
 * Planted: one invoice on each side of every edge. Account 1 has invoices at days 0, 1, 120 and 121 before invoice 100 and on its day, 2 pays
 * late, 3 never, 4 is new; invoice 400's account is unknown.
 */
const PLANTED = `
  insert into receivables.accounts (account_id, company_name, company_address, contact_person, contact_phone, gender, joining_date) values
    (1, 'Smith, Jones & "Sons"', '1 High Street, Leeds', 'Zoë', '555-0101x22', 'F', date '2024-02-29'),
    (2, 'Łódź S.A.', null, 'Todd', null, 'M', ${TODAY} - 400),
    (3, 'Neverland', null, null, null, null, ${TODAY} - 300),
    (4, 'Newcomer', null, null, null, null, ${TODAY});
  insert into receivables.skus values ('A', 'a', null, 1, 10.01), ('B', 'b', '', 0.5, 0.0001), ('C', null, null, null, 9999999999.9999);
  insert into receivables.invoices values
    (100, 1, date '2025-12-31', date '2026-01-30'), (101, 1, date '2025-12-31', date '2026-01-31'),
    (102, 1, date '2025-12-30', date '2025-12-30'), (103, 1, date '2025-12-31' - 120, date '2025-12-31'),
    (104, 1, date '2025-12-31' - 121, date '2025-12-31'), (105, 1, date '2026-01-01', date '2025-12-01'),
    (200, 2, ${TODAY} - 30, null), (201, 2, ${TODAY} - 31, null), (202, 2, ${TODAY} - 90, ${TODAY} - 59), (203, 2, ${TODAY} - 90, ${TODAY} - 50),
    (300, 3, ${TODAY} - 250, null), (301, 4, ${TODAY}, null), (302, 4, ${TODAY} + 10, null),
    (400, 99, ${TODAY} - 5, null);
  insert into receivables.invoice_line_items (invoice_id, item_id, quantity) values
    (100, 'A', 3), (100, 'A', 3), (100, 'B', 1), (101, 'A', 5), (101, 'A', -2), (102, 'gone', 7), (103, 'C', 2147483647), (104, 'B', 9999),
    (200, 'A', 10), (201, 'B', 1), (300, 'A', 100), (301, 'A', 1000), (302, 'A', 1), (400, 'A', 1), (777, 'A', 1);`;

beforeAll(async () => {
  domain = await openDomain('receivables', { sql: PLANTED });
}, 60_000);
afterAll(() => domain?.scenario.close());

interface Features {
  readonly inv_id: number;
}

async function features(view = 'invoice_features'): Promise<Map<number, string>> {
  const rows = await domain.ask<Features>(
    `select * from {database}.${view} settings output_format_json_quote_decimals = 1`,
  );
  return new Map(rows.map((row) => [row.inv_id, JSON.stringify(row)]));
}

/** The invoices whose features are others after `change`, in order. */
async function changedBy(change: string): Promise<number[]> {
  await domain.scenario.applied();
  const before = await features();
  await domain.scenario.sql(change);
  await domain.scenario.applied();
  const after = await features();
  const ids = new Set([...before.keys(), ...after.keys()]);
  return [...ids].filter((id) => before.get(id) !== after.get(id)).sort((a, b) => a - b);
}

async function clock(): Promise<string> {
  const [row] = await domain.scenario.sql(
    `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at`,
  );
  return row!['at'] as string;
}

describe('invoice_features', () => {
  it('equals the question on Postgres for invoices on both sides of every edge', async () => {
    await domain.expectMarts();
  });

  it('counts, adds up and judges as it is defined', async () => {
    const rows = await domain.ask<Record<string, unknown>>(
      `select inv_id, toString(inv_total) as total, toString(inv_items) as items, acct_age, toUInt32(num_inv_120d) as recent,
         toUInt32(cum_tot_inv_acct) as so_far, is_late
       from {database}.invoice_features order by inv_id`,
    );
    const of = (id: number): unknown[] => {
      const { inv_id: _, ...others } = rows.find((row) => row['inv_id'] === id)!;
      return Object.values(others);
    };
    // 30 days are in time; 102 (a day before) and 103 (120 days before) are within, 104 (121 days before) is not.
    expect(of(100)).toEqual(['60.0601', '7', 671, 2, 5, 0]);
    // 31 days are late; a piece that was taken back counts against.
    expect(of(101)).toEqual(['30.03', '3', 671, 2, 5, 1]);
    // An unknown item is worth nothing known, but is an item.
    expect(of(102)).toEqual(['0', '7', 670, 2, 3, 0]);
    expect(of(103)).toEqual(['21474836469999785251.6353', '2147483647', 551, 1, 2, 1]);
    // Paid before it was issued, 121 days after 103.
    expect(of(105)).toEqual(['0', '0', 672, 3, 6, 0]);
    // Unpaid for 30 days: not known yet; for 31 days: late.
    expect(of(200).at(-1)).toBeNull();
    expect(of(201).at(-1)).toBe(1);
    expect(of(202).at(-1)).toBe(1);
    // Dated ahead; and an account that is not there.
    expect(of(302)).toEqual(['10.01', '1', 10, 1, 2, null]);
    expect(of(400)).toEqual(['10.01', '1', null, 0, 1, null]);
    expect(rows.some((row) => row['inv_id'] === 777)).toBe(false);
  });

  it('shows the same under a session of other settings', async () => {
    const sum = `select count() as rows, sum(cityHash64(*)) as hash`;
    const [usual] = await domain.ask(`${sum} from {database}.invoice_features`);
    expect(
      await domain.ask(
        `${sum} from {database}.invoice_features settings join_use_nulls = 1, session_timezone = 'Asia/Tokyo'`,
      ),
    ).toEqual([usual]);
    const [calls] = await domain.ask(`${sum} from {database}.accounts_to_call`);
    expect(
      await domain.ask(
        `${sum} from {database}.accounts_to_call settings join_use_nulls = 1, session_timezone = 'America/Lima'`,
      ),
    ).toEqual([calls]);
  });

  it.each([
    ['a quantity', `update receivables.invoice_line_items set quantity = 4 where invoice_id = 200`, [200]],
    ['an item', `update receivables.invoice_line_items set item_id = 'B' where invoice_id = 200`, [200]],
    ['a line more', `insert into receivables.invoice_line_items (invoice_id, item_id, quantity) values (105, 'A', 1)`, [105]],
    ['a line less', `delete from receivables.invoice_line_items where invoice_id = 105`, [105]],
    ['one of two equal lines', `delete from receivables.invoice_line_items where line_item_id = (select min(line_item_id) from receivables.invoice_line_items where invoice_id = 100)`, [100]],
    ['a line that moves to another invoice', `update receivables.invoice_line_items set invoice_id = 301 where invoice_id = 300`, [300, 301]],
    ['a line that says the same again', `update receivables.invoice_line_items set quantity = quantity`, []],
    ['a line on no invoice', `update receivables.invoice_line_items set quantity = 5 where invoice_id = 777`, []],
    ['a price', `update receivables.skus set item_retail_price = 0.0002 where item_id = 'B'`, [100, 104, 200, 201]],
    ['a payment', `update receivables.invoices set payment_dates = ${TODAY} where invoice_id = 200`, [200]],
    ['a late payment that bounces', `update receivables.invoices set payment_dates = null where invoice_id = 202`, []],
    ['a date that moves out of 120 days and behind others', `update receivables.invoices set date_issued = date '2025-12-31' - 121 where invoice_id = 103`, [100, 101, 103, 104]],
    ['another account', `update receivables.invoices set account_id = 3 where invoice_id = 301`, [301, 302]],
    ['the day of joining', `update receivables.accounts set joining_date = joining_date - 1 where account_id = 2`, [200, 201, 202, 203]],
    ['an account that comes', `insert into receivables.accounts (account_id, company_name, joining_date) values (99, 'At last', ${TODAY} - 6)`, [400]],
    ['a name', `update receivables.accounts set company_name = 'Smith' where account_id = 1`, []],
  ] as const)('%s changes the features of exactly the invoices concerned', async (_, change, ids) => {
    expect(await changedBy(change)).toEqual(ids);
  }); // prettier-ignore

  it('equals the question on Postgres after all of these changes', () => domain.expectMarts());
});

describe('accounts_to_call', () => {
  it('ranks by what is open times how late the account usually pays, with little known taken as the average', async () => {
    await domain.scenario.sql(`truncate receivables.invoices, receivables.invoice_line_items;
      insert into receivables.invoices values
        (1, 1, ${TODAY} - 100, ${TODAY} - 60), (2, 1, ${TODAY} - 100, ${TODAY} - 80), (3, 1, ${TODAY} - 5, null),
        (4, 2, ${TODAY} - 100, ${TODAY} - 70), (5, 2, ${TODAY} - 3, null),
        (6, 3, ${TODAY} - 50, null),
        (7, 4, ${TODAY} - 1, null), (8, 1, ${TODAY} - 9, ${TODAY} - 8);
      insert into receivables.invoice_line_items (invoice_id, item_id, quantity) values (3, 'A', 100), (5, 'A', 100), (6, 'A', 10), (7, 'A', 100), (7, 'A', 1)`);
    await domain.expectMarts();
    // Five invoices are judged, with 10 + 0 + 0 + 0 + 20 days late: six on average. 1: (10 + 30) / 8; 2: 30 / 6; 3: (20 + 30) / 6; 4: 30 / 5.
    expect(
      await domain.ask(`select account_id, toString(usual_days_late) as days, toString(open_amount) as open, toString(call_score) as score,
          toUInt32(overdue_invoices) as overdue, oldest_open_days as oldest from {database}.accounts_to_call order by rank`),
    ).toEqual([
      { account_id: 4, days: '6', open: '1011.01', score: '6066.06', overdue: 0, oldest: 1 },
      { account_id: 1, days: '5', open: '1001', score: '5005', overdue: 0, oldest: 5 },
      { account_id: 2, days: '5', open: '1001', score: '5005', overdue: 0, oldest: 3 },
      { account_id: 3, days: '8.33', open: '100.1', score: '833.833', overdue: 1, oldest: 50 },
    ]);
  });

  it('is empty, not wrong, while nothing has been judged or nothing is open', async () => {
    await domain.scenario.sql(`delete from receivables.invoices where invoice_id not in (3, 7)`);
    await domain.expectMarts();
    expect(
      await domain.ask(`select toString(usual_days_late) as days from {database}.accounts_to_call`),
    ).toEqual([{ days: '0' }, { days: '0' }]);
    await domain.scenario.sql(`update receivables.invoices set payment_dates = ${TODAY}`);
    await domain.expectMarts();
    expect(await domain.ask(`select * from {database}.accounts_to_call`)).toEqual([]);
  });
});

describe('invoice_features_at', () => {
  it('does not know what was paid, corrected or deleted later, nor a day later than its moment', async () => {
    await domain.scenario.sql(`insert into receivables.invoices values (500, 2, ${TODAY} - 40, null), (501, 2, ${TODAY} - 20, null), (502, 2, ${TODAY} - 50, null);
      insert into receivables.invoice_line_items (invoice_id, item_id, quantity) values (500, 'A', 1), (501, 'A', 1), (502, 'A', 1)`);
    await domain.scenario.applied();
    const before = await clock();
    const asItWas = await features();
    // Paid in time, as is entered only now.
    await domain.scenario.sql(`update receivables.invoices set payment_dates = date_issued + 10 where invoice_id in (500, 501)`);
    await domain.scenario.sql(`delete from receivables.invoices where invoice_id = 502`);
    await domain.scenario.sql(`update receivables.skus set item_retail_price = 77 where item_id = 'A'`);
    await domain.scenario.sql(`update receivables.accounts set joining_date = joining_date - 7`);
    await domain.scenario.applied();
    expect(await features(`invoice_features_at(ts = '${before}')`)).toEqual(asItWas);
    const now = await features(`invoice_features_at(ts = '${await clock()}')`);
    expect(now).toEqual(await features());
    expect(now).not.toEqual(asItWas);
    const late = (at: string): Promise<Record<string, unknown>[]> =>
      domain.ask(`select inv_id, is_late from {database}.invoice_features_at(ts = ${at}) where inv_id in (500, 501, 502) order by inv_id`);
    expect(await late(`'${before}'`)).toEqual([
      { inv_id: 500, is_late: 1 },
      { inv_id: 501, is_late: null },
      { inv_id: 502, is_late: 1 },
    ]);
    // Before it began, nothing was known at all.
    expect(await late(`'2020-01-01 00:00:00'`)).toEqual([]);
    // What was open then, with what came of it.
    expect(
      await domain.ask(`select known.inv_id as id, known.is_late as known, outcome.is_late as label
        from {database}.invoice_features_at(ts = '${before}') as known
        inner join {database}.invoice_features as outcome using (inv_id)
        where known.is_late is null and inv_id >= 500`),
    ).toEqual([{ id: 501, known: null, label: 0 }]);
    // Of what is known now, an invoice that is still open eleven days ahead will be late by then.
    await domain.scenario.sql(`update receivables.invoices set payment_dates = null where invoice_id = 501`);
    await domain.scenario.applied();
    expect((await late(`now64(6, 'UTC') + interval 10 day`))[1]).toEqual({ inv_id: 501, is_late: null });
    expect((await late(`now64(6, 'UTC') + interval 11 day`))[1]).toEqual({ inv_id: 501, is_late: 1 });
  }); // prettier-ignore

  it('equals what Postgres said at each of several moments of live traffic, also when all of it is delivered again', async () => {
    await domain.scenario.sql(`truncate receivables.accounts, receivables.skus, receivables.invoices, receivables.invoice_line_items`);
    const url = domain.scenario.databases.postgresUrl;
    const traffic = new LiveTraffic(createGenerator({ seed: 7, invoices: 400 }), { url, seed: 7, ratePerSecond: 500, log: silentLog });
    const moments: string[] = [];
    try {
      await traffic.load();
      await domain.scenario.rememberPlace();
      await traffic.start();
      for (let moment = 0; moment < 2; moment++) {
        const wanted = traffic.transactions + 150;
        traffic.resume();
        await expect.poll(() => traffic.transactions, { timeout: 30_000, interval: 10 }).toBeGreaterThan(wanted);
        await traffic.pause();
        await domain.scenario.sql(`create table expected_${moment} as ${domain.oracles.get('invoice_features')!}`);
        moments.push(await clock());
      }
    } finally {
      await traffic.stop();
    }
    const views = await Promise.all(
      moments.map(async (at, moment) => {
        await domain.ask(`create view {database}.moment_${moment} as select * from {database}.invoice_features_at(ts = '${at}')`);
        return [`moment_${moment}`, `select * from expected_${moment}`] as const;
      }),
    );
    await domain.expectMarts(views);
    await domain.scenario.deliverAgain();
    await domain.expectMarts([...views, ...domain.oracles]);
  }); // prettier-ignore
});
