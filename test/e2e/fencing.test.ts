import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Failpoint } from '../../src/pipeline/failpoint.js';
import { Scenario } from '../support/scenario.js';
import { Walhouse } from '../support/walhouse.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n];
const COMES = { timeout: 30_000, interval: 20 };
const FILL = `
  truncate merchants, payments;
  insert into merchants (merchant_id, name) select i, 'Merchant ' || i from generate_series(1, 5) i;
  insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
    select i, 1 + i % 5, i % 100, (i % 1000) / 10.0 + 0.01, 'Visa', 'Paid', now() - i * interval '2 minutes'
      from generate_series(1, 2000) i;`;

/** What the first instance has in its hands when it falls asleep. */
interface Case {
  readonly point: Failpoint;
  /** Which pass, counted from the start of the process. */
  readonly pass: number;
  readonly what: string;
  /** Brings it there. */
  readonly lead: (scenario: Scenario, first: Walhouse) => Promise<unknown>;
}

const resync = (walhouse: Walhouse): Promise<unknown> =>
  fetch(`${walhouse.url}/v1/tables/public.payments/resync`, { method: 'POST' }).catch(() => null);

/** Every other call, a checkpoint and the state of a table among them: sink-ownership.test.ts. */
const CASES: readonly Case[] = [
  {
    point: 'before_insert',
    pass: 1,
    what: 'rows of payments that are deleted while it sleeps',
    lead: (scenario) =>
      scenario.sql(`insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
        select 50000 + i, 1 + i % 5, 1, 1000, 'Late', 'Rejected', now() - interval '1 hour' from generate_series(1, 100) i`),
  },
  {
    point: 'before_switch',
    pass: 1,
    what: 'the switch of a mart to its new copy',
    lead: (_, first) => resync(first),
  },
  {
    point: 'between_switches',
    pass: 1,
    what: 'the switch of a table to its new copy',
    lead: (_, first) => resync(first),
  },
  {
    point: 'before_truncate',
    pass: 1,
    what: 'a truncate',
    lead: (scenario) => scenario.sql('truncate payments'),
  },
];

describe('an instance that was only asleep, and wakes up when another one has taken over, changes nothing', () => {
  let scenario: Scenario;
  let first: Walhouse;

  beforeAll(async () => {
    scenario = await Scenario.open('fencing', {
      schema: SCHEMA,
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' }, history: true },
      },
      marts: ['payments'],
      decoder: 'pgoutput',
    });
    await scenario.sql(FILL);
    first = new Walhouse(scenario.walhouse.options);
    await first.start();
    await first.applied(await lsn());
    expect(await first.stop()).toBe(0);
  });
  afterEach(async () => {
    first.signal('SIGCONT');
    await first.close();
    first = new Walhouse(scenario.walhouse.options);
    await scenario.walhouse.kill();
  });
  afterAll(async () => {
    await first?.close();
    await scenario?.close();
  });

  const stateOf = (walhouse: Walhouse): Promise<string> =>
    walhouse.status().then(({ state, error }) => (error === null ? state : `${state} ${error.kind}`), String);
  const lsn = async (): Promise<string> => {
    const rows = await scenario.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    return rows[0]!.lsn;
  };
  /** Everything that readers see, and what the next start goes by. */
  const stored = async (): Promise<unknown> => {
    const { clickhouseDatabase: shop } = scenario.databases;
    const parts = [
      `select 'payments' as what, toString(count()) as n, toString(sum(cityHash64(*))) as sum from ${shop}.payments`,
      `select 'trail', toString(count()), toString(sum(cityHash64(*))) from ${shop}_audit.payments`,
      `select 'mart', toString(count()), toString(sum(cityHash64(payment_id, _version))) from ${shop}.payments_7d final`,
      `select 'tables', toString(count()), toString(sum(cityHash64(id, state, snapshot_lsn))) from ${shop}_landing._walhouse_tables final`,
      `select 'names', toString(count()), toString(sum(cityHash64(database, name, uuid))) from system.tables where startsWith(database, '${shop}') and not startsWith(name, '_walhouse_gone_')`,
      `select 'checkpoint', toString(max(epoch)), toString(argMax(applied_lsn, (epoch, save))) from ${shop}_landing._walhouse_checkpoint`,
    ];
    return scenario.databases.clickhouse(`select * from (${parts.join(' union all ')}) order by what`);
  };

  it.each(CASES)('with $what in its hand', async ({ point, pass, lead }) => {
    const second = scenario.walhouse;
    await first.start({ WALHOUSE_FAILPOINT: `${point}:${pass}:stop` });
    await expect.poll(() => stateOf(first), COMES).toBe('streaming');
    await second.start();
    await expect.poll(() => stateOf(second), COMES).toBe('standby slot_in_use');
    await lead(scenario, first);
    await expect.poll(() => inKernel(first), COMES).toBe('T');
    // The server gives up on it, as it does by itself after wal_sender_timeout.
    await scenario.sql(
      `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
    );
    await second.applied(await lsn());
    await expect.poll(() => stateOf(second), COMES).toBe('streaming');
    // Life goes on: what the first one has in its hand is deleted, and the table it would go to is another one by now.
    await scenario.sql(`delete from payments where payment_id > 50000;
      update payments set merchant_id = 1 + merchant_id % 5, status = 'Rejected' where payment_id between 1 and 200;
      insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
        select 60000 + i, 1 + i % 5, 1, 5, 'New', 'Paid', now() - interval '2 hours' from generate_series(1, 100) i
        on conflict do nothing`);
    await second.applied(await lsn());
    await resync(second);
    await expect
      .poll(async () => (await second.status()).tables['public.payments']!.state, COMES)
      .toBe('resyncing');
    await expect
      .poll(async () => (await second.status()).tables['public.payments']!.state, COMES)
      .toBe('streaming');
    await second.applied(await lsn());
    await scenario.expectEqual();

    const before = await stored();
    first.signal('SIGCONT');
    await expect.poll(() => stateOf(first), COMES).toMatch(/^standby/);
    // The position may go on, and nothing else.
    expect(withoutPosition(await stored())).toEqual(withoutPosition(before));
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
  });

  it('and the one that took over can be started again', async () => {
    await scenario.sql(`update payments set amount = amount + 0.01 where payment_id < 50`);
    await scenario.walhouse.start();
    await scenario.applied();
    await expect.poll(() => stateOf(scenario.walhouse), COMES).toBe('streaming');
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
  });
});

function withoutPosition(rows: unknown): unknown {
  return (rows as { what: string; sum: string }[]).map((row) =>
    row.what === 'checkpoint' ? { ...row, sum: null } : row,
  );
}

/** `T` once the process has been stopped. */
function inKernel({ pid }: Walhouse): string {
  return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? '';
}
