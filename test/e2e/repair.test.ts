import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VerifyStatus } from '../../src/ops/status.js';
import type { TableRepair } from '../../src/ops/verify/repair.js';
import type { TableReport, VerifyReport } from '../../src/ops/verify/report.js';
import type { MartReport } from '../../src/ops/verify/verify-marts.js';
import { cli, type Ended } from '../support/cli.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n];
const PAYMENTS = 15_000;
const POLL = { timeout: 60_000, interval: 100 };
/** More than are repaired one by one. */
const MANY = 10_500;

interface Repaired extends VerifyReport {
  readonly repairs: readonly TableRepair[];
  readonly before: VerifyReport;
}

let scenario: Scenario;
let writer: Writer;

/** Changes of every kind, one after another, of rows that no test touches by hand. */
class Writer {
  written = 0;
  #going = true;
  readonly #done: Promise<void>;

  constructor(sql: (text: string) => Promise<unknown>) {
    this.#done = (async () => {
      for (let i = 1; this.#going; i += 1) {
        await sql(`
          insert into payments values (${100_000 + i}, 1 + ${i} % 5, ${i}, ${i} + 0.25, 'Check', 'Pending', now() - ${i} * interval '1 minute', now());
          update payments set merchant_id = 1 + (merchant_id + 1) % 5, amount = amount + 0.01 where payment_id = ${1_000 + (i % 2_000)};
          update payments set payment_date = payment_date - interval '6 days', status = 'Rejected' where payment_id = ${3_000 + (i % 2_000)};
          delete from payments where payment_id = ${14_000 + (i % 1_000)};`);
        // Rows that are followed from position to position, at times.
        if (i % 5 === 0) {
          await sql(
            `update merchants set name = 'Merchant of ' || ${i} where merchant_id = 5; update "Odd ""Keys""" set "Value" = 'v${i}' where "Text" = 'busy'`,
          );
        }
        this.written = i;
        await sleep(200);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
  }
}

beforeAll(async () => {
  scenario = await Scenario.open('repair', {
    schema: `${SCHEMA};
      create table "Odd ""Keys""" ("At" timestamptz, "Text" text, "Raw" bytea, "Fixed" char(5), "Value" text, primary key ("At", "Text", "Raw", "Fixed"));
      create table small (id int primary key, n numeric(5,2));
      create table bulk (id int primary key, v text);`,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' }, history: true },
      'public.Odd "Keys"': {},
      'public.small': {},
      'public.bulk': {},
    },
    marts: ['payments'],
  });
  await scenario.sql(`
    insert into merchants (merchant_id, name) select i, 'Merchant ' || i from generate_series(1, 5) i;
    insert into payments select i, 1 + i % 5, i % 100, (i % 1000) / 10.0 + 0.01, 'Visa', 'Pending', now() - i * interval '30 seconds', now()
      from generate_series(1, ${PAYMENTS}) i;
    insert into "Odd ""Keys""" select timestamptz '2026-01-01' + i * interval '1 microsecond', E'tab\\t''q'' \\\\ ü🙂' || i, decode(lpad(to_hex(i), 4, '0'), 'hex'), 'f' || i, 'v'
      from generate_series(1, 50) i;
    insert into "Odd ""Keys""" values ('2026-01-02', 'busy', '\\x', '', null);
    insert into small select i, i / 4.0 from generate_series(1, 50) i;
    insert into bulk select i, 'v' || i from generate_series(1, 20000) i`);
  await scenario.walhouse.start();
  await scenario.applied();
  writer = new Writer((text) => scenario.sql(text));
});
afterAll(async () => {
  await writer.stop();
  await scenario.close();
});

const verify = (...args: string[]): Promise<Ended> =>
  cli(['verify', '--config', scenario.walhouse.configPath, ...args]);

async function repaired(...args: string[]): Promise<Repaired & { code: number }> {
  const written = writer.written;
  const { code, stdout, stderr } = await verify('--repair', '--json', ...args);
  expect(stderr).toBe('');
  expect(writer.written).toBeGreaterThan(written);
  return { code, ...(JSON.parse(stdout) as Repaired) };
}

const tableOf = (report: VerifyReport, table: string): TableReport =>
  report.tables.find((found) => found.table === table)!;
const martOf = (report: VerifyReport, mart: string): MartReport =>
  report.marts.find((found) => found.mart === mart)!;
const landing = (name: string): string => `\`${scenario.databases.clickhouseDatabase}_landing\`.\`${name}\``;
const mart = (name: string): string => `\`${scenario.databases.clickhouseDatabase}\`.\`${name}\``;
const clickhouse = <Row>(sql: string): Promise<Row[]> => scenario.databases.clickhouse<Row>(sql);
/** Done when the statement returns. */
const alter = (sql: string): Promise<unknown> => clickhouse(`${sql} settings mutations_sync = 2`);

describe('verify --repair, while the source is written to', () => {
  it('mends rows that were changed, deleted, moved and added in landing by hand, row by row', async () => {
    const table = landing('payments');
    await alter(
      `alter table ${table} update amount = 0.99, status = 'Rejected' where payment_id between 101 and 140`,
    );
    await clickhouse(`delete from ${table} where payment_id in (201, 202)`);
    await alter(`alter table ${table} delete where payment_id = 203`);
    // Another merchant and another day, beside the row as it should be; and rows that the source never had.
    await clickhouse(
      `insert into ${table} select * replace (subtractDays(payment_date, 1) as payment_date, toInt64(3) as merchant_id) from (select * from ${table} final where payment_id = 301)`,
    );
    await clickhouse(
      `insert into ${table} select * replace (payment_id + 900000 as payment_id) from (select * from ${table} final where payment_id in (401, 402))`,
    );
    // Keys of several columns, whose texts hold everything that must be escaped somewhere.
    const odd = landing('Odd "Keys"');
    await alter(`alter table ${odd} update Value = 'wrong' where Text like '%🙂7'`);
    await alter(`alter table ${odd} delete where Text like '%🙂8'`);
    await clickhouse(
      `insert into ${odd} select * replace (concat(Text, '\\'; \\t\\n\\\\') as Text, addMicroseconds(At, 500) as At) from (select * from ${odd} final where Text like '%🙂9')`,
    );
    const report = await repaired();
    expect(report.before.equal).toBe(false);
    expect(tableOf(report.before, 'public.payments')).toMatchObject({
      verdict: 'different',
      missing: 3,
      extra: 3,
      // Of two rows of one key the first that comes is different or equal, and the other extra.
      different: expect.toBeOneOf([40, 41]) as number,
    });
    expect(tableOf(report.before, 'public.Odd "Keys"')).toMatchObject({ different: 1, missing: 1, extra: 1 });
    expect(report.repairs).toMatchObject([
      { table: 'public.payments', by: 'rows', keys: 46, rows: 44 },
      { table: 'public.Odd "Keys"', by: 'rows', keys: 3, rows: 2, hidden: 2 },
    ]);
    expect(report.marts.map(({ verdict }) => verdict)).toEqual(['equal', 'equal']);
    expect(report).toMatchObject({ code: 0, equal: true });
  });

  it('tells the audit trail which rows were read again, and nothing of rows that never were', async () => {
    const { clickhouseDatabase: database } = scenario.databases;
    const [found] = await clickhouse<{ again: string; strangers: string; rows: string }>(
      `select toString(countIf(JSONExtractInt(key, 'payment_id') between 101 and 140 or JSONExtractInt(key, 'payment_id') in (201, 202, 203, 301))) as again,
              toString(countIf(JSONExtractString(key, 'payment_id') like '9004%')) as strangers,
              toString(count()) as rows
         from \`${database}_audit\`.payments where op = 'r' and commit_lsn > (select min(commit_lsn) from \`${database}_audit\`.payments where op = 'r')`,
    );
    expect(found).toEqual({ again: '44', strangers: '0', rows: '44' });
  });

  it('mends rows of a mart that were changed, deleted and added by hand, and tombstones that were lost', async () => {
    await scenario.sql(
      `delete from payments where payment_id = 510; update payments set merchant_id = 1 + merchant_id % 5 where payment_id = 511`,
    );
    await scenario.applied();
    const table = mart('payments_7d');
    await alter(`alter table ${table} update amount = 12345 where payment_id between 501 and 503`);
    await alter(`alter table ${table} delete where payment_id in (504, 505)`);
    await alter(`alter table ${table} delete where payment_id in (510, 511) and _is_deleted = 1`);
    await clickhouse(
      `insert into ${table} select * replace (toInt64(4) as merchant_id, toInt64(2) as payment_id) from (select * from ${table} where payment_id = 506)`,
    );
    await clickhouse(
      `insert into ${table} select * replace (toInt64(770000) as payment_id) from (select * from ${table} where payment_id = 507)`,
    );
    await clickhouse(
      `insert into ${mart('merchants_known')} select 99, _version, 0 from ${mart('merchants_known')} where merchant_id = 1 order by _version limit 1`,
    );
    const report = await repaired();
    expect(tableOf(report.before, 'public.payments').verdict).toBe('equal');
    expect(martOf(report.before, 'payments_7d')).toMatchObject({
      verdict: 'different',
      different: 3,
      missing: 2,
      extra: 4,
    });
    expect(martOf(report.before, 'merchants_known')).toMatchObject({ extra: 1, samples: [['99']] });
    expect(report.repairs.map(({ table: name, by }) => [name, by]).sort()).toEqual([
      ['public.merchants', 'rows'],
      ['public.payments', 'rows'],
    ]);
    expect(report).toMatchObject({ code: 0, equal: true });
  });

  it('copies a table anew where too much differs, and where a row of a mart would win over any repair', async () => {
    await clickhouse(
      `insert into ${mart('payments_7d')} select * replace (_version * 1000 as _version, toDecimal64(7, 2) as amount) from ${mart('payments_7d')} where payment_id = 601`,
    );
    await clickhouse(`delete from ${landing('bulk')} where id <= ${MANY}`);
    const report = await repaired();
    expect(tableOf(report.before, 'public.bulk')).toMatchObject({ missing: MANY });
    expect(martOf(report.before, 'payments_7d')).toMatchObject({ different: 1, samples: [['601']] });
    expect(report.repairs.map(({ table, by }) => [table, by]).sort()).toEqual([
      ['public.bulk', 'copy'],
      ['public.payments', 'copy'],
    ]);
    expect(report).toMatchObject({ code: 0, equal: true });
  });

  it('copies a table anew where a row of landing would win over any repair, and says why', async () => {
    await clickhouse(
      `insert into ${landing('small')} select id, 99 as n, _version * 1000, 0, _committed_at, _synced_at from ${landing('small')} final where id = 7`,
    );
    const { code, stdout } = await verify('small', '--repair');
    expect(stdout).toMatch(/public\.small +DIFFERENT/);
    expect(stdout).toContain('1 different: 7');
    expect(stdout).toContain(
      'repaired public.small: copied anew, since rows bear versions above every commit',
    );
    expect(stdout).toMatch(/Verified again:\npublic\.small +equal/);
    expect(code).toBe(0);
  });

  it('killed in the middle of it, is done by the next one', async () => {
    const { walhouse } = scenario;
    await alter(
      `alter table ${landing('payments')} update amount = 0.5 where payment_id between 701 and 720`,
    );
    await clickhouse(`delete from ${landing('payments')} where payment_id in (721, 722)`);
    expect(await walhouse.stop()).toBe(0);
    await walhouse.start({ WALHOUSE_FAILPOINT: 'before_rows' });
    await scenario.applied();
    const ended = walhouse.ended();
    expect((await verify('payments', '--repair')).code).toBe(1);
    expect(await ended).toBe('SIGKILL');
    await walhouse.start();
    await scenario.applied();
    const report = await repaired('payments');
    expect(tableOf(report.before, 'public.payments')).toMatchObject({ different: 20, missing: 2 });
    expect(report).toMatchObject({ code: 0, equal: true });
  });

  it('has left what people and programs read equal to the source', async () => {
    await writer.stop();
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
  });

  it('says that the service must run for it', async () => {
    await scenario.walhouse.stop();
    const { code, stderr } = await verify('--repair');
    expect(code).toBe(1);
    expect(stderr).toContain('no service answers');
    expect(stderr).toContain('walhouse run');
  });
});

describe('verify in the background', () => {
  it('tells status, metrics and the log what differs, and that it does not any more', async () => {
    const { walhouse } = scenario;
    await writer.stop();
    await walhouse.stop();
    walhouse.configure({ verify: { every: '1s' } });
    await walhouse.start();
    await scenario.applied();
    const small = async (): Promise<VerifyStatus | null> =>
      (await walhouse.status()).tables['public.small']!.verify;
    const drift = async (): Promise<string | undefined> =>
      /^walhouse_verify_drift_rows\{table="public\.small"\} (\d+)$/m.exec(
        await (await fetch(`${walhouse.url}/metrics`)).text(),
      )?.[1];
    await expect.poll(small, POLL).toMatchObject({ verdict: 'equal', differences: 0, error: null });
    expect(await drift()).toBe('0');
    await alter(`alter table ${landing('small')} update n = 9 where id in (4, 5)`);
    await expect.poll(small, POLL).toMatchObject({ verdict: 'different', differences: 2, complete: true });
    expect(await drift()).toBe('2');
    await expect.poll(() => walhouse.output, POLL).toContain('Fix: walhouse verify public.small --repair');
    const { code, stdout } = await verify('small', '--repair');
    expect(stdout).toContain('repaired public.small: 2 keys, 2 rows stored anew, 2 hidden');
    expect(code).toBe(0);
    await expect.poll(small, POLL).toMatchObject({ verdict: 'equal', differences: 0 });
    const status = await walhouse.status();
    for (const table of Object.values(status.tables)) {
      expect(Date.parse(table.verify!.at!)).toBeGreaterThan(Date.now() - 60_000);
      expect(table.verify!.position).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    }
    expect(await walhouse.stop()).toBe(0);
  });
});
