import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli, type Ended } from '../support/cli.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

const PAYMENTS = [
  'payment_id,merchant_id,customer_id,amount,method,status,payment_date',
  '1,1,7,10.50,Visa,Paid,2026-11-01 10:00:00',
  'x,1,7,10.50,Visa,Paid,2026-11-01 10:00:00',
  '3,1,7,99999999999.00,Visa,Paid,2026-11-01 10:00:00',
  '4,1,7,10.50,"Visa, ""gold""\nand more",Rejected,2026-11-01 10:00:00+02',
  '5,1,7,10.50,Visa,Unheard,2026-11-01 10:00:00',
  '6,1,7',
  '1,1,8,1.00,Visa,Paid,2026-11-02 10:00:00',
  '8,1,7,\\N,Visa,Paid,2026-11-01 10:00:00',
  '9,2,7,1.00,"",Pending,2026-11-03 10:00:00',
];

describe('walhouse load', () => {
  let databases: TestDatabases;
  const directory = mkdtempSync(join(tmpdir(), 'walhouse-load-'));

  beforeAll(async () => {
    databases = await createDatabases('load');
    writeFileSync(
      join(directory, 'merchants.csv'),
      '\ufeffname,merchant_id,address\n"Contreras, Wright",1,\nDowns,2,""\n',
    );
    writeFileSync(join(directory, 'payments.csv.gz'), gzipSync(PAYMENTS.join('\r\n')));
  });
  afterAll(async () => {
    await databases?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const load = (...args: string[]): Promise<Ended> =>
    cli(['load', 'payments', '--from', directory, ...args], { SOURCE_URL: databases.postgresUrl });

  it('takes every line that Postgres takes, and tells the others by number, column and reason without their values', async () => {
    const { code, stdout, stderr } = await load('--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toMatchObject({
      tables: [
        { table: 'public.merchants', rows: 2, badLines: 0 },
        {
          table: 'public.payments',
          rows: 3,
          badLines: 6,
          bad: expect.arrayContaining([
            { line: 3, column: 'payment_id', reason: 'invalid input syntax for type bigint' },
            { line: 4, column: 'amount', reason: 'numeric field overflow' },
            { line: 7, column: null, reason: expect.stringContaining('payments_status_known') as string },
            { line: 8, column: null, reason: 'Invalid Record Length' },
            { line: 9, column: null, reason: expect.stringContaining('payments_pkey') as string },
            { line: 10, column: 'amount', reason: expect.stringContaining('not-null') as string },
          ]) as unknown,
        },
      ],
    });
    expect(code).toBe(1);
    expect(stdout).not.toContain('Unheard');
    expect(
      await databases.postgres(
        `select payment_id::int, method, payment_date::text as at from payments order by 1`,
      ),
    ).toEqual([
      { payment_id: 1, method: 'Visa', at: '2026-11-01 10:00:00+00' },
      { payment_id: 4, method: 'Visa, "gold"\nand more', at: '2026-11-01 08:00:00+00' },
      { payment_id: 9, method: '', at: '2026-11-03 10:00:00+00' },
    ]);
    expect(
      await databases.postgres('select merchant_id::int as id, address from merchants order by 1'),
    ).toEqual([
      { id: 1, address: null },
      { id: 2, address: '' },
    ]);
  });

  it('adds to rows that are there, or replaces them, only when it is told to', async () => {
    const refused = await load();
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/load_refused: public\.merchants has rows already; --append/);
    const replaced = await load('--replace');
    expect(replaced.code).toBe(1);
    expect(replaced.stdout).toMatch(/public\.payments +3 rows, 6 bad lines left out/);
    expect(await databases.postgres('select count(*)::int as n from payments')).toEqual([{ n: 3 }]);
    const appended = await load('--append');
    expect(appended.stdout).toMatch(/public\.payments +0 rows, 9 bad lines left out/);
  });

  it('refuses a file whose header the table does not have, and a folder without files, and leaves everything as it was', async () => {
    writeFileSync(join(directory, 'merchants.csv'), 'merchant_id,name,colour\n9,Nine,red\n');
    const wrong = await load('--replace');
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/has a column "colour", and public\.merchants has none/);
    expect(await databases.postgres('select count(*)::int as n from payments')).toEqual([{ n: 3 }]);
    const nothing = await cli(['load', 'payments', '--from', tmpdir(), '--url', databases.postgresUrl]);
    expect(nothing.stderr).toMatch(/load_refused: .* holds none of merchants\.csv/);
    expect((await cli(['load', 'nowhere', '--from', directory])).stderr).toMatch(/no source is named/);
  });
});
