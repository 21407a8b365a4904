import { type ClickHouseClient, createClient } from '@clickhouse/client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import {
  compareTable,
  type CompareOptions,
  type TableComparison,
} from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;
let pool: pg.Pool;
let clickhouse: ClickHouseClient;

beforeAll(async () => {
  databases = await createDatabases('compare_table');
  pool = new pg.Pool({ connectionString: databases.postgresUrl, max: 2 });
  clickhouse = createClient({ url: databases.clickhouseUrl });
  await databases.clickhouse(`create database ${databases.clickhouseDatabase}`);
});

afterAll(async () => {
  await clickhouse.close();
  await pool.end();
  await databases.close();
});

let tables = 0;

interface Sides {
  /** Columns, then rows, as each server writes them. */
  readonly postgres: readonly [string, string];
  readonly clickhouse: readonly [string, string];
}

/** Makes the same table by hand on both sides, and compares. */
async function compare(
  { postgres, clickhouse: there }: Sides,
  options: Partial<CompareOptions> = {},
): Promise<TableComparison> {
  const name = `table_${++tables}`;
  await databases.postgres(`create table ${name} (${postgres[0]})`);
  if (postgres[1] !== '') await databases.postgres(`insert into ${name} values ${postgres[1]}`);
  const view = { database: databases.clickhouseDatabase, name };
  await databases.clickhouse(
    `create table ${view.database}.${name} (${there[0]}) engine = MergeTree order by tuple()`,
  );
  if (there[1] !== '') await databases.clickhouse(`insert into ${view.database}.${name} values ${there[1]}`);
  const client = await pool.connect();
  const relation = await readComparedRelation(client, 'public', name).finally(() => client.release());
  return compareTable({ postgres: pool, clickhouse, relation, view, ...options });
}

describe('two tables that hold the same', () => {
  const SAME: Record<string, Sides> = {
    'numbers up to their limits, and decimals with trailing zeros': {
      postgres: [
        'id int8 primary key, i int2, d numeric(12,2), n numeric',
        `(9223372036854775807, -32768, 120.50, 1e130), (-9223372036854775808, 32767, -0.01, 0.10), (0, null, 0, 'NaN')`,
      ],
      clickhouse: [
        'id Int64, i Nullable(Int16), d Decimal(12,2), n String',
        `(9223372036854775807, -32768, 120.50, '1${'0'.repeat(130)}'), (-9223372036854775808, 32767, -0.01, '0.10'), (0, null, 0, 'NaN')`,
      ],
    },
    'floats, bit for bit': {
      postgres: [
        'id int4 primary key, f float4, d float8',
        `(1, 'NaN', 'NaN'), (2, 'Infinity', '-Infinity'), (3, '-0', '-0'), (4, 1e-45, 5e-324), (5, 0.1, 0.30000000000000004), (6, null, null)`,
      ],
      clickhouse: [
        'id Int32, f Nullable(Float32), d Nullable(Float64)',
        `(1, nan, nan), (2, inf, -inf), (3, -0., -0.), (4, 1e-45, 5e-324), (5, 0.1, 0.30000000000000004), (6, null, null)`,
      ],
    },
    'timestamps to the microsecond, dates, booleans': {
      postgres: [
        'id int4 primary key, z timestamptz, t timestamp, d date, b bool',
        `(1, '2026-11-21 10:00:00.123456+01', '1900-01-01 00:00:00.000001', '1900-01-01', true),
         (2, '2299-12-31 23:59:59.999999+00', '1969-12-31 23:59:59.5', '2299-12-31', false),
         (3, '2026-11-21 09:00:00+00', '2026-11-21 09:00:00', '1970-01-01', null)`,
      ],
      clickhouse: [
        `id Int32, z DateTime64(6, 'UTC'), t DateTime64(6, 'UTC'), d Date32, b Nullable(Bool)`,
        `(1, '2026-11-21 09:00:00.123456', '1900-01-01 00:00:00.000001', '1900-01-01', true),
         (2, '2299-12-31 23:59:59.999999', '1969-12-31 23:59:59.5', '2299-12-31', false),
         (3, '2026-11-21 09:00:00', '2026-11-21 09:00:00', '1970-01-01', null)`,
      ],
    },
    'text with every awkward character, bytes, uuids, labels': {
      postgres: [
        'id int4 primary key, t text, c char(4), b bytea, u uuid, j jsonb',
        `(1, E'tab\\t line\\n back\\\\slash ''"\\x01\\u2028😀\\x0b', 'ab', '\\x00ff27', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 9007199254740993}'),
         (2, '\\N', '', '', null, 'null'), (3, 'NULL', null, null, null, null), (4, '', null, '\\x5c4e', null, '"x"')`,
      ],
      clickhouse: [
        'id Int32, t Nullable(String), c Nullable(String), b Nullable(String), u Nullable(UUID), j Nullable(String)',
        `(1, 'tab\\t line\\n back\\\\slash \\'"\\x01\u2028😀\\x0b', 'ab  ', unhex('00ff27'), 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a": 9007199254740993}'),
         (2, '\\\\N', '    ', '', null, 'null'), (3, 'NULL', null, null, null, null), (4, '', null, '\\\\N', null, '"x"')`,
      ],
    },
    'arrays, with nulls, quotes and nesting': {
      postgres: [
        'id int4 primary key, a text[], m int4[], f float8[], z timestamptz[]',
        `(1, array['a', null, 'NULL', 'b"c\\d', '', 'é,{}'], array[[1,2],[3,null]], array['-0', 'NaN']::float8[], array['2026-11-21 10:00:00.5+01']::timestamptz[]),
         (2, '{}', '{}', '{}', '{}')`,
      ],
      clickhouse: [
        `id Int32, a Array(Nullable(String)), m Array(Array(Nullable(Int32))), f Array(Float64), z Array(DateTime64(6, 'UTC'))`,
        `(1, ['a', null, 'NULL', 'b"c\\\\d', '', 'é,{}'], [[1,2],[3,null]], [-0., nan], ['2026-11-21 09:00:00.5']), (2, [], [], [], [])`,
      ],
    },
    'composite keys of text and numbers that would run together': {
      postgres: [
        'a text, n numeric(6,2), v int4, primary key (n, a)',
        `('ab', 1, 1), ('a', 1, 2), ('a', 11, 3), ('', 1, 4)`,
      ],
      clickhouse: [
        'a String, n Decimal(6,2), v Int32',
        `('', 1, 4), ('a', 11, 3), ('a', 1, 2), ('ab', 1, 1)`,
      ],
    },
    'a table without a key, whose rows repeat': {
      postgres: ['a int4, b text', `(1, 'x'), (1, 'x'), (2, null)`],
      clickhouse: ['a Int32, b Nullable(String)', `(2, null), (1, 'x'), (1, 'x')`],
    },
    'nothing at all': { postgres: ['id int4 primary key', ''], clickhouse: ['id Int32', ''] },
  };

  it.each(Object.entries(SAME))('are equal: %s', async (_, sides) => {
    const result = await compare(sides);
    expect(result).toMatchObject({ equal: true, complete: true, missing: 0, extra: 0, different: 0 });
    expect(result.rowsClickhouse).toBe(result.rowsPostgres);
  });
});

describe('a planted difference is found and named', () => {
  const FOUND: Record<string, Sides & { expected: object }> = {
    'a row that is not there': {
      postgres: ['id int4 primary key, v text', `(1, 'a'), (2, 'b')`],
      clickhouse: ['id Int32, v String', `(1, 'a')`],
      expected: { missing: 1, extra: 0, different: 0, samples: { missing: [['2']] } },
    },
    'a row too many': {
      postgres: ['id int4 primary key, v text', `(1, 'a')`],
      clickhouse: ['id Int32, v String', `(1, 'a'), (7, 'a')`],
      expected: { missing: 0, extra: 1, different: 0, samples: { extra: [['7']] } },
    },
    'one row twice': {
      postgres: ['id int4 primary key, v text', `(1, 'a'), (2, 'b')`],
      clickhouse: ['id Int32, v String', `(1, 'a'), (1, 'a'), (2, 'b')`],
      expected: { missing: 0, extra: 1, different: 0, samples: { extra: [['1']] } },
    },
    'an old version beside the new one': {
      postgres: ['id int4 primary key, v text', `(1, 'new')`],
      clickhouse: ['id Int32, v String', `(1, 'old'), (1, 'new')`],
      expected: { extra: 1, different: 0 },
    },
    'a cent': {
      postgres: ['id int4 primary key, v numeric(12,2)', `(1, 120.50)`],
      clickhouse: ['id Int32, v Decimal(12,2)', `(1, 120.51)`],
      expected: { different: 1, differentColumns: { v: 1 }, samples: { different: [['1']] } },
    },
    'the last place of a float': {
      postgres: ['id int4 primary key, v float8', `(1, 0.3)`],
      clickhouse: ['id Int32, v Float64', `(1, 0.1 + 0.2)`],
      expected: { different: 1, differentColumns: { v: 1 } },
    },
    'minus zero': {
      postgres: ['id int4 primary key, v float4', `(1, '-0')`],
      clickhouse: ['id Int32, v Float32', `(1, 0)`],
      expected: { different: 1 },
    },
    'a microsecond': {
      postgres: ['id int4 primary key, v timestamptz', `(1, '2026-11-21 09:00:00.000001+00')`],
      clickhouse: [`id Int32, v DateTime64(6, 'UTC')`, `(1, '2026-11-21 09:00:00.000002')`],
      expected: { different: 1, differentColumns: { v: 1 } },
    },
    'a zone that was dropped': {
      postgres: ['id int4 primary key, v timestamptz', `(1, '2026-11-21 09:00:00+01')`],
      clickhouse: [`id Int32, v DateTime64(6, 'UTC')`, `(1, '2026-11-21 09:00:00')`],
      expected: { different: 1 },
    },
    'infinity that became 1970': {
      postgres: ['id int4 primary key, v timestamptz', `(1, 'infinity')`],
      clickhouse: [`id Int32, v DateTime64(6, 'UTC')`, `(1, 0)`],
      expected: { different: 1 },
    },
    'an empty text that became null': {
      postgres: ['id int4 primary key, v text', `(1, '')`],
      clickhouse: ['id Int32, v Nullable(String)', `(1, null)`],
      expected: { different: 1 },
    },
    'a null that became empty': {
      postgres: ['id int4 primary key, v text', `(1, null)`],
      clickhouse: ['id Int32, v String', `(1, '')`],
      expected: { different: 1 },
    },
    'digits of a large number': {
      postgres: ['id int4 primary key, v int8', `(1, 9007199254740993)`],
      clickhouse: ['id Int32, v Int64', `(1, 9007199254740992)`],
      expected: { different: 1 },
    },
    'bytes that are no UTF-8': {
      postgres: ['id int4 primary key, v text', `(1, U&'\\FFFD')`],
      clickhouse: ['id Int32, v String', `(1, unhex('ff'))`],
      expected: { different: 1 },
    },
    'an element of an array': {
      postgres: ['id int4 primary key, v text[]', `(1, array['a', 'NULL'])`],
      clickhouse: ['id Int32, v Array(Nullable(String))', `(1, ['a', null])`],
      expected: { different: 1 },
    },
    'two rows that swapped their values': {
      postgres: ['id int4 primary key, v text', `(1, 'a'), (2, 'b')`],
      clickhouse: ['id Int32, v String', `(1, 'b'), (2, 'a')`],
      expected: { missing: 0, extra: 0, different: 2 },
    },
    "a key with another key's text": {
      postgres: ['a text, b text, primary key (a, b)', `('a', 'bc')`],
      clickhouse: ['a String, b String', `('ab', 'c')`],
      expected: { missing: 1, extra: 1, samples: { missing: [['a', 'bc']], extra: [['ab', 'c']] } },
    },
    'a column that is not there': {
      postgres: ['id int4 primary key, v text', `(1, 'a')`],
      clickhouse: ['id Int32', `(1)`],
      expected: { missing: 0, extra: 0, different: 0, columns: { missing: ['v'], extra: [] } },
    },
    'a column of our own that readers see': {
      postgres: ['id int4 primary key', `(1)`],
      clickhouse: ['id Int32, _version UInt128', `(1, 5)`],
      expected: { columns: { missing: [], extra: ['_version'] } },
    },
  };

  it.each(Object.entries(FOUND))('%s', async (_, { expected, ...sides }) => {
    const result = await compare(sides);
    expect(result.equal).toBe(false);
    expect(result).toMatchObject(expected);
  });
});

it('a row that is known to be quarantined counts apart when it is missing, and as different when it stands', async () => {
  const sides: Sides = {
    postgres: ['id int4 primary key, v text', `(1, 'a'), (2, 'b'), (3, 'c')`],
    clickhouse: ['id Int32, v String', `(1, 'a'), (3, 'old')`],
  };
  expect(await compare(sides, { quarantined: [['2'], ['3']] })).toMatchObject({
    equal: false,
    missing: 0,
    different: 1,
    quarantined: 1,
  });
  expect(await compare(sides, { quarantined: [['3']] })).toMatchObject({ missing: 1, quarantined: 0 });
});

describe('retention', () => {
  const keep = { count: 2, unit: 'year' } as const;
  const dated = 'id int4 primary key, at timestamptz';
  const view = `id Int32, at Nullable(DateTime64(6, 'UTC'))`;

  it('a row past its retention is on neither side, and one without a date is on both', async () => {
    const result = await compare(
      {
        postgres: [
          dated,
          `(1, now() - interval '3 years'), (2, '2026-01-01 00:00:00+00'), (3, null), (4, '-infinity')`,
        ],
        clickhouse: [view, `(2, '2026-01-01 00:00:00'), (3, null)`],
      },
      { retention: { column: 'at', keep } },
    );
    expect(result).toMatchObject({ equal: true, rowsPostgres: 2, rowsClickhouse: 2 });
  });

  it('a row that should have expired and still shows is a row too many', async () => {
    const result = await compare(
      {
        postgres: [dated, `(1, now() - interval '2 years 1 second')`],
        clickhouse: [view, `(1, now64(6, 'UTC') - interval 2 year - interval 1 second)`],
      },
      { retention: { column: 'at', keep } },
    );
    expect(result).toMatchObject({ equal: false, extra: 1, samples: { extra: [['1']] } });
  });

  it('a row that expires while it is compared is left out of the comparison', async () => {
    const result = await compare(
      {
        postgres: [
          dated,
          `(1, now() - interval '2 years' + interval '20 seconds'), (2, now() - interval '1 year')`,
        ],
        clickhouse: [view, ''],
      },
      { retention: { column: 'at', keep } },
    );
    expect(result).toMatchObject({ missing: 1, samples: { missing: [['2']] } });
  });

  it.each([
    ['timestamp', `DateTime64(6, 'UTC')`],
    ['date', 'Date32'],
  ])('goes by a %s as well', async (postgresType, clickHouseType) => {
    const result = await compare(
      {
        postgres: [
          `id int4 primary key, at ${postgresType}`,
          `(1, now() - interval '3 years'), (2, '2289-01-01')`,
        ],
        clickhouse: [`id Int32, at ${clickHouseType}`, `(2, '2289-01-01')`],
      },
      { retention: { column: 'at', keep } },
    );
    expect(result).toMatchObject({ equal: true, rowsPostgres: 1 });
  });
});

it(
  'a large table is compared in bounded memory, and its few differences are found',
  { timeout: 60_000 },
  async () => {
    const rows = 150_000;
    const name = 'large';
    await databases.postgres(`create table ${name} (id int8 primary key, v text)`);
    await databases.postgres(
      `insert into ${name} select n, repeat(md5(n::text), 3) from generate_series(1, ${rows}) n`,
    );
    const view = { database: databases.clickhouseDatabase, name };
    await databases.clickhouse(
      `create table ${view.database}.${name} engine = MergeTree order by id as
     select toInt64(number + 1) as id, if(id = 777, 'x', repeat(lower(hex(MD5(toString(id)))), 3)) as v
     from numbers(${rows}) where id <> 99000`,
    );
    const client = await pool.connect();
    const relation = await readComparedRelation(client, 'public', name).finally(() => client.release());
    const before = process.memoryUsage().rss;
    const result = await compareTable({ postgres: pool, clickhouse, relation, view });
    expect(result).toMatchObject({
      rowsPostgres: rows,
      rowsClickhouse: rows - 1,
      missing: 1,
      extra: 0,
      different: 1,
      samples: { missing: [['99000']], different: [['777']] },
    });
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  },
);

it('domains are compared as what they stand on, and keys come in their own order', async () => {
  await databases.postgres('create domain cents as numeric(12, 2)');
  await databases.postgres('create domain price as cents');
  await databases.postgres(
    'create table "Mixed ""Case" (b price, "select" text[], a int4, primary key (a, b))',
  );
  const client = await pool.connect();
  const relation = await readComparedRelation(client, 'public', 'Mixed "Case').finally(() =>
    client.release(),
  );
  expect(relation.columns.map(({ type }) => type)).toEqual([
    { name: 'numeric' },
    { name: '_text', element: { name: 'text' } },
    { name: 'int4' },
  ]);
  expect(relation.key).toEqual([2, 0]);
});

it('a table that is not there is an error on either side', async () => {
  const client = await pool.connect();
  try {
    await expect(readComparedRelation(client, 'public', 'nowhere')).rejects.toMatchObject({
      kind: 'table_missing',
    });
  } finally {
    client.release();
  }
  const relation = { schema: 'public', name: 'nowhere', columns: [], key: [] };
  const view = { database: databases.clickhouseDatabase, name: 'nowhere' };
  await expect(compareTable({ postgres: pool, clickhouse, relation, view })).rejects.toMatchObject({
    kind: 'table_missing',
  });
});
