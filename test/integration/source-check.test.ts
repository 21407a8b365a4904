import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import { checkSource } from '../../src/source/check.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createDatabases('source_check');
  await databases.postgres('create table good (id int primary key); create table bad (id int)');
});

afterAll(() => databases.close());

const check = (tables: readonly string[], url = databases.postgresUrl) =>
  checkSource({
    url,
    slot: databases.name,
    publication: databases.name,
    decoder: 'auto',
    tables,
    log: silentLog,
  });

describe('the check of a source', () => {
  it('finds nothing wrong with a good one and changes nothing', async () => {
    const findings = await check(['public.good']);
    expect(findings.filter(({ ok, level }) => !ok && level === 'error')).toEqual([]);
    expect(
      await databases.postgres('select from pg_replication_slots where database = current_database()'),
    ).toEqual([]);
    expect(await databases.postgres('select from pg_publication')).toEqual([]);
  });

  it('goes on past a table that is wrong, with its fix', async () => {
    const findings = await check(['public.bad', 'public.missing', 'public.good']);
    expect(findings.filter(({ name }) => name.startsWith('table'))).toMatchObject([
      { name: 'table public.bad', ok: false, fix: expect.stringContaining('add primary key') as string },
      { name: 'table public.missing', ok: false },
      { name: 'table public.good', ok: true, fix: null },
    ]);
  });

  it('names the rights that a role lacks', async () => {
    const role = `${databases.name}_plain`;
    await databases.postgres(`create role ${role} login password 'x'`);
    try {
      const url = new URL(databases.postgresUrl);
      url.username = role;
      url.password = 'x';
      const wrong = (await check(['public.good'], url.href)).filter(({ ok }) => !ok);
      expect(wrong.map(({ fix }) => fix)).toEqual(
        expect.arrayContaining([
          `alter role "${role}" with replication`,
          `grant select on "public"."good" to "${role}"`,
        ]),
      );
    } finally {
      await databases.postgres(`drop role ${role}`);
    }
  });

  it('reports a server that is not there as a finding', async () => {
    const url = new URL(databases.postgresUrl);
    url.port = '1';
    expect(await check([], url.href)).toMatchObject([
      { ok: false, detail: expect.stringContaining('source_unreachable') as string },
    ]);
  });
});
