import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { FAILPOINTS, type Failpoint } from '../../src/pipeline/failpoint.js';
import { type Decoder, Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n];

function openPayments(name: string, decoder: Decoder): Promise<Scenario> {
  return Scenario.open(name, {
    schema: SCHEMA,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
    decoder,
  });
}

const FILL = `
  insert into merchants (merchant_id, name, address, phone, email, ingestion_date)
    select i, 'Merchant ' || i, 'Street ' || i, '+1 ' || i, i || '@example.org', now() from generate_series(1, 5) i;
  insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
    select i, 1 + i % 5, i % 100, (i % 1000) / 10.0 + 0.01, 'Visa', 'Pending', now() - i * interval '2 minutes', now()
    from generate_series(1, 5000) i;`;

/** Transactions of one round of churn, and how many rounds may pass before the failpoint must have been met. */
const CHURN = 20;
const ROUNDS_MAX = 20;

/** Both tables in each transaction; inserts, corrections, reassignments, redating, deletions. */
const churn = (from: number): string => `
  do $$ begin
    for i in ${from}..${from + CHURN - 1} loop
      insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
        values (100000 + i, 1 + i % 5, i, i + 0.25, 'Check', 'Pending', now() - i * interval '1 hour', now());
      update payments set status = case when i % 3 = 0 then 'Rejected' else 'Paid' end where payment_id = i;
      update payments set merchant_id = 1 + (i + 1) % 5, amount = amount + 0.01 where payment_id = 1000 + i;
      update payments set payment_date = payment_date - interval '6 days' where payment_id = 2000 + i;
      delete from payments where payment_id = 3000 + i;
      update merchants set name = 'Merchant of ' || i where merchant_id = 1 + i % 5;
      commit;
    end loop;
  end $$;`;

const decoders: Decoder[] = inject('servers').hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];
const STREAMING: Failpoint[] = [
  'before_insert',
  'between_tables',
  'after_insert',
  'after_checkpoint',
  'after_confirm',
];

describe.each(decoders)('after kill -9 with %s', (decoder) => {
  // What has been decoded is stored and confirmed the same way, so the decoders take turns.
  const streaming = STREAMING.filter((_, index) => decoders[index % decoders.length] === decoder);
  // Of a stage beside the stream, of a table altered in place, and moments at which another instance takes over:
  // those are other tests'.
  const others: Failpoint[] = [
    'stage_opened',
    'while_altering',
    'shown_aside',
    'stage_filled',
    'before_checkpoint',
    'before_truncate',
    'before_mart',
  ];
  // The snapshot is read the same way whatever decodes what comes after it.
  const snapshotting: readonly Failpoint[] =
    decoder === 'wal2json'
      ? ['mid_snapshot', 'after_snapshots']
      : FAILPOINTS.filter((name) => ![...STREAMING, ...others].includes(name));

  describe('in the stream', () => {
    let scenario: Scenario;
    let from = 1;
    beforeAll(async () => {
      scenario = await openPayments('crash', decoder);
      await scenario.sql(FILL);
      await scenario.walhouse.start();
      await scenario.applied();
    });
    afterAll(() => scenario?.close());

    it.for(streaming)('%s, ClickHouse equals Postgres once it runs again', async (name) => {
      const { walhouse } = scenario;
      expect(await walhouse.stop()).toBe(0);
      // The third pass, so that the first batches are durable and the others come again.
      await walhouse.start({ WALHOUSE_FAILPOINT: `${name}:3` });
      const ended = walhouse.ended();
      for (let round = 0; round < ROUNDS_MAX; round += 1) {
        await scenario.sql(churn(from));
        from += CHURN;
        const over = await Promise.race([
          ended.then(() => true),
          scenario.applied().then(
            () => false,
            () => true,
          ),
        ]);
        if (over) break;
      }
      expect(await ended).toBe('SIGKILL');
      await scenario.sql(churn(from));
      from += CHURN;
      await walhouse.start();
      await scenario.expectEqual();
      await scenario.expectRiskEqual(MERCHANTS);
    });
  });

  describe('in the snapshot', () => {
    let scenario: Scenario | null = null;
    afterEach(async () => {
      await scenario?.close();
      scenario = null;
    });

    it.for(snapshotting)('%s, the snapshot is made whole, without rows deleted meanwhile', async (name) => {
      scenario = await openPayments('crash', decoder);
      await scenario.sql(FILL);
      await scenario.walhouse.start({ WALHOUSE_FAILPOINT: name });
      expect(await scenario.walhouse.ended()).toBe('SIGKILL');
      await scenario.sql(churn(1));
      await scenario.sql('delete from payments where payment_id between 4000 and 4500');
      await scenario.walhouse.start();
      await scenario.expectEqual();
      await scenario.expectRiskEqual(MERCHANTS);
    });
  });
});
