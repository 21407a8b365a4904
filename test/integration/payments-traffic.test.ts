import { execFileSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createPaymentsTraffic } from '../../src/dev/payments/generator.js';
import type { LiveTraffic } from '../../src/dev/traffic.js';
import { compareRisk, riskOnPostgres, type RiskNumbers } from '../../src/ops/compare/risk.js';
import { silentLog } from '../../src/pipeline/log.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

const START = new Date('2026-11-21T09:00:00Z');

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createDatabases('payments_traffic');
});

afterAll(() => databases.close());

async function run(traffic: LiveTraffic, transactions: number) {
  await traffic.start();
  for (;;) {
    const [row] = await databases.postgres<{ id: string }>(
      'select max(payment_id)::text as id from payments',
    );
    if (Number(row?.id) > 2_000 + transactions / 2) break;
  }
  return traffic.stop();
}

const CONTENT = `select (select md5(string_agg(payments::text, ';' order by payment_id)) from payments) as payments,
                        (select md5(string_agg(merchants::text, ';' order by merchant_id)) from merchants) as merchants`;

describe('the demo traffic', () => {
  it('loads the same data for the same seed and start, and loads nothing over rows that are there', async () => {
    const contents = [];
    for (const seed of [1, 1, 2]) {
      await databases.postgres('drop table if exists payments, merchants');
      const { traffic } = createPaymentsTraffic({
        url: databases.postgresUrl,
        seed,
        ratePerSecond: 100,
        log: silentLog,
        startAt: START,
        initial: { merchants: 50, payments: 2_000, days: 20 },
      });
      expect(await traffic.load()).toEqual({ loaded: true });
      expect(await traffic.load()).toEqual({ loaded: false });
      await traffic.stop();
      contents.push((await databases.postgres(CONTENT))[0]);
    }
    expect(contents[0]).toEqual(contents[1]);
    expect(contents[0]).not.toEqual(contents[2]);
  });

  it('leaves the same rows behind when the same seed runs on one connection', async () => {
    const contents = [];
    for (let time = 0; time < 2; time++) {
      await databases.postgres('drop table if exists payments, merchants');
      const initial = { merchants: 50, payments: 2_000, days: 20 };
      const options = { url: databases.postgresUrl, seed: 3, log: silentLog, startAt: START, initial };
      const { traffic } = createPaymentsTraffic({ ...options, ratePerSecond: 2_000, connections: 1 });
      await traffic.load();
      await run(traffic, 600);
      // How far a run came differs; what both did up to a payment is the same.
      contents.push(
        await databases.postgres(
          'select payment_id, customer_id, method from payments where payment_id between 2001 and 2200 order by 1',
        ),
      );
    }
    expect(contents[0]?.length).toBeGreaterThan(150);
    expect(contents[0]).toEqual(contents[1]);
  });

  it('reports what it did, overlaps transactions, and touches only the merchants it names', async () => {
    await databases.postgres('drop table if exists payments, merchants');
    const { traffic, generator } = createPaymentsTraffic({
      url: databases.postgresUrl,
      seed: 4,
      ratePerSecond: 1_500,
      log: silentLog,
      initial: { merchants: 400, payments: 2_000, days: 20 },
    });
    await traffic.load();
    expect(generator.largestMerchantId()).toBeTypeOf('bigint');
    await databases.postgres(`
      create table changes (at timestamptz default now());
      create function note_change() returns trigger language plpgsql as
        $$ begin insert into changes default values; return null; end $$;
      create trigger noted after insert or update or delete on payments
        for each row execute function note_change();
      create trigger noted after insert or update or delete on merchants
        for each row execute function note_change()`);
    const perMerchant = `select merchant_id::text as id, md5(string_agg(payments::text, ';' order by payment_id)) as rows
                         from payments group by 1`;
    const before = new Map(
      (await databases.postgres<{ id: string; rows: string }>(perMerchant)).map((row) => [row.id, row.rows]),
    );
    const report = await run(traffic, 1_500);
    expect(report.transactions).toBe(Object.values(report.operations).reduce((sum, count) => sum + count));
    const [changed] = await databases.postgres<{ rows: number }>(
      'select count(*)::int4 as rows from changes',
    );
    expect(report.rows).toBe(changed?.rows);
    for (const { id, rows } of await databases.postgres<{ id: string; rows: string }>(perMerchant)) {
      if (before.get(id) !== rows) expect(generator.touchedMerchants).toContain(BigInt(id));
      before.delete(id);
    }
    for (const id of before.keys()) expect(generator.touchedMerchants).toContain(BigInt(id));
    // Nothing of a rolled back transaction is there.
    expect(await databases.postgres('select 1 from payments where amount = 666666.66')).toEqual([]);
  });

  it('goes on from rows that it finds', async () => {
    const [before] = await databases.postgres<{ id: string }>(
      'select max(payment_id)::text as id from payments',
    );
    const options = { url: databases.postgresUrl, seed: 5, ratePerSecond: 500, log: silentLog };
    const { traffic } = createPaymentsTraffic(options);
    await traffic.start();
    for (;;) {
      const [row] = await databases.postgres<{ id: string }>(
        'select max(payment_id)::text as id from payments',
      );
      if (Number(row?.id) > Number(before?.id) + 50) break;
    }
    expect((await traffic.stop()).operations['settle']).toBeGreaterThan(0);
  });

  it('survives that its connections are cut', async () => {
    const options = { url: databases.postgresUrl, seed: 6, ratePerSecond: 500, log: silentLog };
    const { traffic } = createPaymentsTraffic(options);
    await traffic.start();
    await databases.postgres(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'walhouse demo traffic'`,
    );
    const count =
      'select xact_commit::text as commits from pg_stat_database where datname = current_database()';
    const [cut] = await databases.postgres<{ commits: string }>(count);
    for (;;) {
      const [now] = await databases.postgres<{ commits: string }>(count);
      if (Number(now?.commits) > Number(cut?.commits) + 100) break;
    }
    await expect(traffic.stop()).resolves.toHaveProperty('retries');
  });

  it('says what ended it when it cannot go on', async () => {
    const options = { url: databases.postgresUrl, seed: 7, ratePerSecond: 500, log: silentLog };
    const { traffic } = createPaymentsTraffic(options);
    await traffic.start();
    await databases.postgres('alter table payments rename column amount to price');
    for (;;) {
      const rows = await databases.postgres(
        `select 1 from pg_stat_activity where application_name = 'walhouse demo traffic' and state = 'active'
         and datname = current_database()`,
      );
      if (rows.length === 0) break;
    }
    await expect(traffic.stop()).rejects.toThrow('amount');
    await databases.postgres('alter table payments rename column price to amount');
  });
});

describe('comparing risk answers', () => {
  const at = '2026-11-21T09:00:00.000001Z';
  let client: pg.Client;
  let server: Server;
  let answers: Map<bigint, RiskNumbers | null>;
  let asked: string[];

  beforeAll(async () => {
    await databases.postgres('truncate payments, merchants');
    await databases.postgres(`insert into merchants (merchant_id, name) values (1, 'a'), (2, 'b')`);
    await databases.postgres(`insert into payments
      (payment_id, merchant_id, customer_id, amount, method, status, payment_date) values
      (1, 1, 1, 10.10, 'Visa', 'Rejected', '2026-11-21 09:00:00.000001+00'),
      (2, 1, 1, 20.20, 'Visa', 'Paid', '2026-11-14 09:00:00.000002+00'),
      (3, 1, 1, 40.40, 'Visa', 'Rejected', '2026-11-14 09:00:00.000001+00'),
      (4, 1, 1, 80.80, 'Visa', 'Pending', '2026-11-21 09:00:00.000002+00'),
      (5, 9, 1, 80.80, 'Visa', 'Pending', '2026-11-21 08:00:00+00')`);
    client = new pg.Client({ connectionString: databases.postgresUrl });
    await client.connect();
    // Stands for the API, whose answers other tests check; here they are made wrong on purpose.
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      const entry = (id: bigint, numbers: RiskNumbers) => ({
        merchant_id: String(id),
        rejected: { count: numbers.rejectedCount, amount: numbers.rejectedAmount },
        total: { count: numbers.totalCount, amount: numbers.totalAmount },
      });
      const one = /^\/v1\/merchants\/(\d+)\/risk/.exec(request.url ?? '');
      if (one !== null) {
        const numbers = answers.get(BigInt(one[1] ?? ''));
        response.statusCode = numbers ? 200 : 404;
        response.end(numbers ? JSON.stringify(entry(BigInt(one[1] ?? ''), numbers)) : '{}');
        return;
      }
      const merchants = [...answers].map(([id, numbers]) =>
        numbers === null ? { merchant_id: String(id), found: false } : { ...entry(id, numbers), found: true },
      );
      response.end(JSON.stringify({ merchants }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterAll(async () => {
    server.close();
    await client.end();
  });

  const compare = async (change?: (numbers: Map<bigint, RiskNumbers | null>) => void) => {
    asked = [];
    answers = new Map(await riskOnPostgres(client, [1n, 2n, 9n], at));
    change?.(answers);
    return compareRisk({
      apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      postgres: client,
      merchantIds: [1n, 2n, 9n],
      at,
      minLsn: '0/16B3748',
    });
  };

  it('the window is open at its beginning and closed at its end, to the microsecond', async () => {
    expect(await riskOnPostgres(client, [1n, 2n, 9n], at)).toEqual(
      new Map([
        [1n, { rejectedCount: 1, rejectedAmount: '10.10', totalCount: 2, totalAmount: '30.30' }],
        [2n, { rejectedCount: 0, rejectedAmount: '0.00', totalCount: 0, totalAmount: '0.00' }],
        [9n, null],
      ]),
    );
  });

  it('equal answers are equal, those that a merchant does not exist among them', async () => {
    const result = await compare();
    expect(result).toMatchObject({
      equal: true,
      compared: 3,
      comparedAlone: 3,
      withPayments: 1,
      differences: [],
    });
    expect(asked[0]).toContain(
      'POST /v1/merchants/risk?at=2026-11-21T09%3A00%3A00.000001Z&min_lsn=0%2F16B3748',
    );
  });

  it.each<[string, (answers: Map<bigint, RiskNumbers | null>) => void, string]>([
    ['a cent', (map) => map.set(1n, { ...map.get(1n)!, totalAmount: '30.31' }), '1'],
    ['a count', (map) => map.set(1n, { ...map.get(1n)!, rejectedCount: 0 }), '1'],
    ['zeros for a merchant that does not exist', (map) => map.set(9n, map.get(2n)!), '9'],
    ['a merchant that is said not to exist', (map) => map.set(2n, null), '2'],
  ])('%s is a difference, both in a list and alone', async (_, change, merchantId) => {
    const result = await compare(change);
    expect(result.equal).toBe(false);
    expect(result.differences.map(({ asked: how, merchantId: id }) => `${id} ${how}`)).toEqual([
      `${merchantId} in a list`,
      `${merchantId} alone`,
    ]);
  });
});

describe('the role for Walhouse', () => {
  const roles = new URL('../../postgres/roles.sql', import.meta.url).pathname;
  const hasPsql = (() => {
    try {
      execFileSync('psql', ['--version']);
      return true;
    } catch {
      return false;
    }
  })();

  it.skipIf(!hasPsql)('may stream and read, and may not write', async () => {
    const load = () =>
      execFileSync('psql', [databases.postgresUrl, '-q', '-f', roles], {
        env: { ...process.env, WALHOUSE_PASSWORD: `it's "secret"` },
        stdio: 'pipe',
      });
    load();
    load();
    const url = new URL(databases.postgresUrl);
    url.username = 'walhouse';
    url.password = encodeURIComponent(`it's "secret"`);
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      await client.query('select count(*) from payments');
      const slot = databases.name;
      await client.query(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [slot]);
      await client.query('select pg_drop_replication_slot($1)', [slot]);
      for (const statement of [
        'delete from payments',
        'create table mine (id int)',
        'drop publication walhouse',
      ]) {
        await expect(client.query(statement)).rejects.toMatchObject({ code: '42501' });
      }
    } finally {
      await client.end();
      await databases.postgres('drop publication walhouse; drop owned by walhouse; drop role walhouse');
    }
  });
});
