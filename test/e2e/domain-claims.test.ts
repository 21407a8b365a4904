import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDomain, type DomainScenario } from '../support/domain-scenario.js';

let domain: DomainScenario;
beforeAll(async () => {
  domain = await openDomain('claims', { decoder: 'pgoutput' });
});
afterAll(() => domain?.scenario.close());

/** Carries out a change, waits for it, and sets every mart against SQL on Postgres. */
async function after(sql: string): Promise<void> {
  await domain.scenario.sql(sql);
  await domain.expectMarts();
}

const ask = (sql: string): Promise<Record<string, unknown>[]> => domain.ask(sql);

/** Rows that break each rule, by rule; those that nobody breaks left out. */
async function broken(): Promise<Record<string, number>> {
  const rows = await ask('select rule, rows from {database}.claim_quality where rows > 0');
  return Object.fromEntries(rows.map(({ rule, rows: count }) => [String(rule), Number(count)]));
}

async function fact(id: number): Promise<Record<string, unknown>> {
  const rows = await ask(`select * from {database}.claim_facts where claim_id = ${id}`);
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

/** A treatment with an invoice of two items of 100 and 50, and a claim of 150: nothing is wrong with it. */
const SOUND = (id: number): string => `
  insert into claims.treatments values (${id}, 'CLOSED', '2026-01-02', '2026-01-09 10:00', '2026-01-03', '2026-01-02', 40);
  insert into claims.invoices values (${id}, 'FINAL', '2026-01-02', ${id});
  insert into claims.invoice_items values
    (${id}1, 'ACTIVE', '2026-01-02', ${id}, 7, 'KES', 100), (${id}2, 'ACTIVE', '2026-01-02', ${id}, 8, 'KES', 50);
  insert into claims.claims values
    (${id}, 'Approved', 'Benefit', '2026-01-02', '2026-01-09 10:00', ${id}, 40, 150, 'KES');`;

describe('claims', () => {
  beforeAll(() => after(SOUND(1)));

  it('a sound claim breaks no rule, and every rule has its row', async () => {
    expect(await broken()).toEqual({});
    const [row] = await ask(
      'select count() as rules, min(share) as least, max(share) as most from {database}.claim_quality',
    );
    expect(row).toEqual({ rules: '28', least: 0, most: 0 });
    expect(await fact(1)).toMatchObject({
      is_suspicious: 0,
      counted_amount: 150,
      invoice_items: '2',
      invoice_total: 150,
    });
  });

  // Each on a sound claim of its own, so that a rule is seen to be broken and mended by one change.
  const claim = (set: string) => (id: number) => `update claims.claims set ${set} where id = ${id}`;
  const item = (set: string) => (id: number) => `update claims.invoice_items set ${set} where id = ${id}1`;
  const treatment = (set: string) => (id: number) => `update claims.treatments set ${set} where id = ${id}`;
  const RULES: Record<string, [change: (id: number) => string, suspicious: 0 | 1, alsoBroken?: string[]]> = {
    claim_date_created_missing: [claim('date_created = null'), 0],
    claim_date_modified_missing: [claim('date_modified = null'), 0],
    claim_orphan: [claim('treatment_id = 999999'), 1],
    claim_without_invoice: [
      (id) => `delete from claims.invoices where id = ${id}`,
      0,
      ['item_orphan', 'item_orphan', 'treatment_without_invoice'],
    ],
    claim_amount_missing: [claim('amount = null'), 1, ['claim_amount_differs']],
    claim_amount_negative: [claim('amount = -0.0001'), 1, ['claim_amount_differs']],
    claim_amount_zero: [claim('amount = 0'), 0, ['claim_amount_differs']],
    claim_amount_absurd: [claim('amount = 1000000.0001'), 1, ['claim_amount_differs']],
    claim_currency_foreign: [claim(`currency = 'TZS'`), 1],
    claim_amount_differs: [item('amount = 100.0001'), 0],
    claim_program_differs: [claim('program_id = null'), 0],
    treatment_date_created_missing: [treatment('date_created = null'), 0],
    treatment_date_modified_missing: [treatment('date_modified = null'), 0],
    treatment_date_submitted_missing: [treatment('date_submitted = null'), 0],
    treatment_date_treatment_missing: [treatment('date_treatment = null'), 0],
    treatment_without_invoice: [
      (id) => `update claims.invoices set treatment_id = null where id = ${id}`,
      0,
      ['claim_without_invoice', 'invoice_orphan'],
    ],
    treatment_with_several_invoices: [
      (id) => `insert into claims.invoices values (${id}9, 'DRAFT', '2026-01-02', ${id})`,
      0,
    ],
    treatment_with_several_claims: [
      (id) => `insert into claims.claims values
        (${id}9, 'Submitted', 'Voucher', '2026-01-02', '2026-01-02', ${id}, 40, 30, 'KES');
        update claims.claims set amount = 120 where id = ${id}`,
      0,
    ],
    invoice_date_created_missing: [
      (id) => `update claims.invoices set date_created = null where id = ${id}`,
      0,
    ],
    invoice_orphan: [(id) => `delete from claims.treatments where id = ${id}`, 1, ['claim_orphan']],
    item_date_created_missing: [item('date_created = null'), 0],
    item_orphan: [item('invoice_id = 999999'), 0, ['claim_amount_differs']],
    item_amount_missing: [item('amount = null'), 0, ['claim_amount_differs']],
    item_amount_negative: [item('amount = -100'), 0, ['claim_amount_differs']],
    item_amount_zero: [item('amount = 0'), 0, ['claim_amount_differs']],
    item_amount_absurd: [item('amount = 666666666668'), 0, ['claim_amount_differs']],
    item_currency_foreign: [item('currency = null'), 0],
    item_product_negative: [item('product_id = -25249'), 0],
  };

  it('every rule is broken by the row that breaks it, flagged on its claim, and stays in claim_facts', async () => {
    const all = Object.entries(RULES);
    const id = (index: number): number => 100 + index;
    await after(all.map(([, [change]], index) => `${SOUND(id(index))} ${change(id(index))};`).join('\n'));
    const expected: Record<string, number> = {};
    for (const [rule, [, , also = []]] of all)
      for (const name of [rule, ...also]) expected[name] = (expected[name] ?? 0) + 1;
    expect(await broken()).toEqual(expected);
    for (const [index, [rule, [, suspicious]]] of all.entries())
      expect({ rule, ...(await fact(id(index))) }).toMatchObject({ rule, is_suspicious: suspicious });
    const [shares] = await ask(
      'select count() as wrong from {database}.claim_quality where share <> rows / of',
    );
    expect(shares).toEqual({ wrong: '0' });
  });

  it('sums leave suspicious claims out and say how many', async () => {
    const [row] = await ask(
      `select approved, suspicious, toString(approved_amount) as amount, toString(approved_amount_all) as everything
         from {database}.approvals_monthly where month = '2026-01-01' and program_id = 40 and type = 'Benefit'`,
    );
    const [sums] = await ask(
      `select count() as approved, countIf(is_suspicious = 1) as suspicious, toString(sum(counted_amount)) as amount
         from {database}.claim_facts where status = 'APPROVED' and program_id = 40 and type = 'Benefit'`,
    );
    expect(row).toMatchObject({ suspicious: '6', amount: sums!['amount'] });
    expect(Number(row!['approved']) + 6).toBe(Number(sums!['approved']));
    expect(Number(row!['everything'])).toBeGreaterThan(1_000_000);
  });

  it('statuses in any spelling become one', async () => {
    await after(`
      ${SOUND(50)}
      insert into claims.claims
        select 500 + i, spelling, 'Benefit', '2026-01-02', '2026-01-02', 50, 40, 0, 'KES'
        from unnest(array['ReSubmitted', 'RESUBMITTED', 'resubmitted', 'Re-Submitted', 'Re_Submitted', ' resubmitted ']) with ordinality as s (spelling, i);
      insert into claims.claims values
        (507, 'PartiallyRejected', 'Benefit', null, '2026-01-02', 50, 40, 0, 'KES'),
        (508, 'partially rejected', 'Benefit', null, '2026-01-02', 50, 40, 0, 'KES'),
        (509, null, 'Benefit', null, '2026-01-02', 50, 40, 0, 'KES');`);
    expect(
      await ask(
        'select status, count() as n from {database}.claim_facts where claim_id between 501 and 509 group by status order by status',
      ),
    ).toEqual([
      { status: 'PARTIALLY_REJECTED', n: '2' },
      { status: 'RESUBMITTED', n: '6' },
      { status: null, n: '1' },
    ]);
  });

  it('ten years after its last change a row is gone, without that date it stays, and a new date brings it back', async () => {
    await after(`
      ${SOUND(60)} ${SOUND(61)}
      update claims.claims set date_modified = now() at time zone 'UTC' - interval '10 years 1 second' where id = 60;
      update claims.treatments set date_modified = now() at time zone 'UTC' - interval '11 years' where id = 61;`);
    expect(await ask('select claim_id from {database}.claim_facts where claim_id = 60')).toEqual([]);
    expect(await fact(61)).toMatchObject({ is_orphan: 1, is_suspicious: 1, counted_amount: 0 });

    await after(`
      update claims.claims set date_modified = null, date_created = '2001-01-01' where id = 60;
      update claims.treatments set date_modified = '2026-01-09' where id = 61;`);
    expect(await fact(60)).toMatchObject({ no_date_modified: 1, is_suspicious: 0 });
    expect(await fact(61)).toMatchObject({ is_orphan: 0, counted_amount: 150 });
  });

  it('an approval whose date is corrected moves to its month, and one without dates has a row of its own', async () => {
    await after(`
      ${SOUND(70)}
      update claims.claims set date_modified = '2025-03-31 23:59:59.999999', program_id = 36 where id = 70;
      update claims.treatments set program_id = 36 where id = 70;`);
    const months = (): Promise<unknown[]> =>
      ask('select month, approved from {database}.approvals_monthly where program_id = 36 order by month');
    expect(await months()).toEqual([{ month: '2025-03-01', approved: '1' }]);
    await after('update claims.claims set date_modified = null, date_created = null where id = 70');
    expect(await months()).toEqual([{ month: null, approved: '1' }]);
    for (const [written, month] of [
      ['1950-06-15 12:00', '1950-06-01'],
      ['2290-02-28', '2290-02-01'],
    ]) {
      await after(`update claims.claims set date_created = '${written}' where id = 70`);
      expect(await months()).toEqual([{ month, approved: '1' }]);
    }
  });

  it('DESCRIBE explains the marts and the tables', async () => {
    const bare = await ask(
      `select table, name from system.columns
        where database = '{database}' and comment = '' and (table in ('claim_facts', 'claim_quality', 'approvals_monthly') or startsWith(table, 'claims_'))`,
    );
    expect(bare).toEqual([]);
  });
});
