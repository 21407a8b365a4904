import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import type { TableReport, VerifyReport } from '../../src/ops/verify/report.js';
import { cli } from '../support/cli.js';
import { filesWith, markers } from '../support/on-disk.js';
import { Scenario } from '../support/scenario.js';

const marker = markers('snapshot', 'stream', 'refused', 'kept');
/** Of letters alone, so that it would be found in compressed files as well. */
const { key: KEY } = markers('key');
const hash = (text: string): string => createHmac('sha256', KEY).update(text).digest('hex');

const SCHEMA = `
  create table customers (id int primary key, email text, phone varchar(40), born date, photo bytea, note text);
  alter table customers replica identity full;
  create table orders (id int primary key, customer_email varchar(200), amount numeric(12,2) not null, letter text);
  alter table orders alter column letter set storage external;
  create table visits (id int primary key, email text, at timestamptz);
  insert into customers select i, case when i % 5 > 0 then 'c' || i || '@example.com' end, '+49 ' || i, date '1980-01-01' + i, decode(md5(i::text), 'hex'),
      '${marker.kept}' from generate_series(1, 300) i;
  insert into customers values (1000, '${marker.snapshot}', '', null, '\\x00', null);
  insert into orders select i, 'c' || (i % 400) || '@example.com', i % 7, repeat(md5(i::text), 160) from generate_series(1, 500) i;
  insert into visits values (1, '${marker.snapshot}', now()), (2, '${marker.refused}', 'infinity')`;

const TABLES = {
  'public.customers': { mask: ['email', 'phone', 'born', 'photo'], history: true },
  'public.orders': { mask: ['customer_email', 'letter'] },
  'public.visits': { mask: ['email'] },
};
const EQUAL = ['public.customers', 'public.orders'];

let clickhouse: LocalClickHouse;
let scenario: Scenario;
beforeAll(async () => {
  // Its files are looked through.
  clickhouse = await startClickHouse({ log: () => {} });
  scenario = await Scenario.open('mask', {
    clickhouse: clickhouse.url,
    schema: SCHEMA,
    tables: TABLES,
    maskKey: KEY,
  });
  await scenario.walhouse.start();
  await scenario.applied();
});
afterAll(async () => {
  await scenario.close();
  await clickhouse.close();
});

const query = (sql: string): Promise<Record<string, unknown>[]> => scenario.databases.clickhouse(sql);
const database = (): string => scenario.databases.clickhouseDatabase;

async function verify(
  ...args: string[]
): Promise<{ code: number; report: VerifyReport; table: TableReport }> {
  const { code, stdout } = await cli(['verify', 'customers', '--json', ...args, '--config', scenario.walhouse.configPath]); // prettier-ignore
  const report = JSON.parse(stdout) as VerifyReport;
  return { code, report, table: report.tables[0]! };
}

describe('masked columns', () => {
  it('are the hashes of their values, from the snapshot and the stream alike, and null is null', async () => {
    await scenario.sql(`
      insert into customers values (2000, '${marker.snapshot}', null, 'infinity', null, 'b'), (2001, '${marker.stream}', '', null, '', null);
      update customers set email = '${marker.stream}' where id between 1 and 20;
      update customers set note = 'other' where id between 21 and 40;
      update customers set id = -id where id between 41 and 60;
      update customers set email = null, phone = null where id = 61;
      delete from customers where id between 62 and 80;
      update orders set amount = amount + 1 where id <= 100;
      insert into visits values (3, '${marker.refused}', '-infinity')`);
    await scenario.expectEqual(...EQUAL);
    const same = await query(
      `select id, email from ${database()}.customers where id in (1000, 2000, 10, 5) order by id`,
    );
    expect(same).toEqual([
      { id: 5, email: hash(marker.stream) },
      { id: 10, email: hash(marker.stream) },
      { id: 1000, email: hash(marker.snapshot) },
      { id: 2000, email: hash(marker.snapshot) },
    ]);
    expect((await scenario.walhouse.status()).tables['public.visits']!.quarantined).toBe(2);
  });

  it('join as their values do, across tables and types', async () => {
    const join = (prefix: string): string =>
      `select o.id as order_id, c.id as customer_id from ${prefix}orders o join ${prefix}customers c on c.email = o.customer_email order by 1, 2`;
    const expected = await scenario.sql(join(''));
    expect(expected.length).toBeGreaterThan(200);
    expect(await query(join(`${database()}.`))).toEqual(expected);

    const document = readFileSync(new URL('../../docs/ANALYSTS.md', import.meta.url), 'utf8');
    const documented = /# Masked columns\n.*?```sql\n(.*?)```/s.exec(document)![1]!;
    const inPostgres = documented.replace('count()', 'count(*)').replace('uniqExact(', 'count(distinct ');
    const orders = await scenario.sql(inPostgres.replaceAll('shop.', ''));
    expect(await query(documented.replaceAll('shop.', `${database()}.`))).toEqual(orders);
  });

  it('leave no value in any file of ClickHouse nor in the log, and no trace of the key', async () => {
    await query('system flush logs');
    expect(await filesWith(clickhouse.directory, marker.kept)).not.toEqual([]);
    for (const [name, text] of Object.entries({ ...marker, kept: 'c77@example.com', key: KEY })) {
      expect(await filesWith(clickhouse.directory, text), name).toEqual([]);
      expect(scenario.walhouse.output).not.toContain(text);
    }
    // What is looked for would be found: the hash is, in which compression may have replaced a few digits.
    const parts = [0, 11, 22].map((at) => hash(marker.refused).slice(at, at + 10));
    const found = await Promise.all(parts.map((part) => filesWith(clickhouse.directory, part)));
    expect(found.flat()).not.toEqual([]);
  });

  it('are compared by verify value for value, and mended', async () => {
    const landing = `${database()}_landing.customers`;
    await query(
      `alter table ${landing} update email = '${hash('somebody else')}' where id = 100 settings mutations_sync = 1`,
    );
    const { code, report, table } = await verify('--repair');
    const [rows] = await scenario.sql('select count(*)::int as n from customers');
    const { before } = report as VerifyReport & { before: VerifyReport };
    expect(before.tables[0]).toMatchObject({
      different: 1,
      different_columns: { email: 1 },
      missing: 0,
      extra: 0,
    });
    expect({ code, ...table }).toMatchObject({
      code: 0,
      verdict: 'equal',
      rows_postgres: rows!['n'],
      columns: { unchecked: [] },
    });
    await scenario.expectEqual(...EQUAL);
  });

  it('have other hashes once the key is another one; before that, the other key compares nothing', async () => {
    const { walhouse } = scenario;
    const { other } = markers('other');
    walhouse.configure({ maskKey: other });
    const { code, table } = await verify();
    expect({ code, ...table }).toMatchObject({
      code: 1,
      verdict: 'not_compared',
      error: { kind: 'schema_changed' },
    });
    walhouse.reload();
    while (
      (await query(`select 1 from ${database()}.customers where email = '${hash(marker.stream)}' limit 1`))
        .length > 0
    )
      await sleep(50);
    await scenario.expectEqual(...EQUAL);
    expect(await query(`select count() as n from ${database()}.customers_history where email = '${hash(marker.stream)}'`)).toEqual([{ n: '0' }]); // prettier-ignore
  });

  it('that are called otherwise in the source stop their table, and check says so', async () => {
    await scenario.sql(`
      alter table customers rename email to mail;
      update customers set mail = '${marker.refused}' where id = 100`);
    while ((await scenario.walhouse.status()).tables['public.customers']!.error === null) await sleep(50);
    const { error } = (await scenario.walhouse.status()).tables['public.customers']!;
    expect(error).toMatchObject({ kind: 'config_invalid', what: expect.stringContaining('mask names "email"') as string }); // prettier-ignore
    await scenario.expectEqual('public.orders');
    const { code, stdout } = await cli(['check', '--config', scenario.walhouse.configPath]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/FAIL.*mask names "email"/);
    expect(await filesWith(clickhouse.directory, marker.refused)).toEqual([]);
  });
});
