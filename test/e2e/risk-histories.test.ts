import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compareRisk } from '../../src/ops/compare/risk.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n];
const HISTORIES = Number(process.env['RISK_HISTORIES'] ?? 100);
const SEED = Number(process.env['RISK_SEED'] ?? Date.now() % 1_000_000);

const HOUR = 3_600_000_000n;
/** Microseconds from the histories' own now: on, just inside and just outside both edges of the window, and far from them. */
const OFFSETS = [
  0n,
  1n,
  -1n,
  HOUR,
  -HOUR,
  -168n * HOUR,
  -168n * HOUR + 1n,
  -168n * HOUR - 1n,
  -167n * HOUR,
  -169n * HOUR,
  -24n * 30n * HOUR,
  -24n * 729n * HOUR,
];
/** Ends of the window that are asked for; the last two lie before what the seven-day mart reaches. */
const ENDS = [0n, 1n, -1n, HOUR, -1n * HOUR, -24n * 3n * HOUR, -24n * 30n * HOUR];

const id = fc.integer({ min: 1, max: 9 });
const merchant = fc.integer({ min: 1, max: 4 });
const cents = fc.constantFrom('0.01', '0.10', '19.99', '1000000000.00', '9999999999.99', '-5.00');
const status = fc.constantFrom('Pending', 'Paid', 'Rejected');
const offset = fc.constantFrom(...OFFSETS);

const operation = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ op: fc.constant('insert' as const), id, merchant, cents, status, offset }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('status' as const), id, status }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('amount' as const), id, cents }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('redate' as const), id, offset }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('reassign' as const), id, merchant }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('rekey' as const), id, to: fc.integer({ min: 10, max: 14 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), id }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('merchant' as const), merchant, there: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('truncate' as const) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const transaction = fc.record({
  operations: fc.array(operation, { minLength: 1, maxLength: 6 }),
  commit: fc.oneof({ weight: 6, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
});

let scenario: Scenario;
let client: pg.Client;
beforeAll(async () => {
  scenario = await Scenario.open('histories', {
    schema: SCHEMA,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
  });
  client = new pg.Client({ connectionString: scenario.databases.postgresUrl });
  await client.connect();
  await scenario.walhouse.start();
  await scenario.applied();
});
afterAll(async () => {
  await client.end();
  await scenario.close();
});

const timestamp = (base: bigint, shift: bigint): string => {
  const us = base + shift;
  const seconds = us / 1_000_000n;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(us % 1_000_000n).padStart(6, '0')}Z`;
};

async function perform(step: Operation, base: bigint): Promise<void> {
  switch (step.op) {
    case 'insert':
      await client.query(
        `insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
         values ($1, $2, 1, $3, 'Visa', $4, $5) on conflict do nothing`,
        [step.id, step.merchant, step.cents, step.status, timestamp(base, step.offset)],
      );
      return;
    case 'status':
      await client.query('update payments set status = $2 where payment_id = $1', [step.id, step.status]);
      return;
    case 'amount':
      await client.query('update payments set amount = $2 where payment_id = $1', [step.id, step.cents]);
      return;
    case 'redate':
      await client.query('update payments set payment_date = $2 where payment_id = $1', [
        step.id,
        timestamp(base, step.offset),
      ]);
      return;
    case 'reassign':
      await client.query('update payments set merchant_id = $2 where payment_id = $1', [
        step.id,
        step.merchant,
      ]);
      return;
    case 'rekey':
      await client.query(
        `update payments set payment_id = $2 where payment_id = $1
         and not exists (select from payments where payment_id = $2)`,
        [step.id, step.to],
      );
      return;
    case 'delete':
      await client.query('delete from payments where payment_id = $1', [step.id]);
      return;
    case 'merchant':
      if (step.there) {
        await client.query(
          `insert into merchants (merchant_id, name) values ($1, 'M') on conflict do nothing`,
          [step.merchant],
        );
      } else await client.query('delete from merchants where merchant_id = $1', [step.merchant]);
      return;
    case 'truncate':
      await client.query('truncate payments');
  }
}

describe('the seven-day numbers', () => {
  it(`equal SQL on Postgres after random histories (${HISTORIES}, RISK_SEED=${SEED})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(transaction, { minLength: 1, maxLength: 6 }), async (history) => {
        await client.query('truncate payments, merchants');
        await client.query(
          `insert into merchants (merchant_id, name) select i, 'M' from generate_series(1, 4) i`,
        );
        const base = BigInt(Date.now()) * 1000n;
        for (const { operations, commit } of history) {
          await client.query('begin');
          for (const step of operations) await perform(step, base);
          await client.query(commit ? 'commit' : 'rollback');
        }
        const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text lsn');
        await Promise.all(
          ENDS.map(async (end) => {
            const found = await compareRisk({
              apiUrl: scenario.walhouse.url,
              postgres: client,
              merchantIds: MERCHANTS,
              at: timestamp(base, end),
              minLsn: rows[0]!.lsn,
              waitMs: 5_000,
            });
            expect(found.differences, `window's end at ${end}`).toEqual([]);
          }),
        );
      }),
      { numRuns: HISTORIES, seed: SEED },
    );
    await scenario.expectEqual();
  }, 300_000);
});
