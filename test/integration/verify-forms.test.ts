import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ColumnType } from '../../src/pipeline/relation.js';
import { framedClickHouse, framedPostgres, sqlForm } from '../../src/ops/verify/sql-forms.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;
beforeAll(async () => {
  databases = await createDatabases('verify_forms');
});
afterAll(() => databases.close());

const base = (name: string): ColumnType => ({ name, kind: 'base', modifier: -1, text: name });
const arrayOf = (name: string): ColumnType => ({
  name: `_${name}`,
  kind: 'array',
  modifier: -1,
  text: `${name}[]`,
  element: base(name),
});

/** The framed text of a literal on each side. */
async function both(
  type: ColumnType,
  literal: string,
  clickHouseType: string,
  value: string,
): Promise<[string, string]> {
  const form = sqlForm(type, clickHouseType)!;
  const inPostgres = framedPostgres(form, 'v.x', (text) => text);
  const [postgres] = await databases.postgres<{ x: string }>(
    `select ${inPostgres} as x from (select ${literal}::${type.text} as x) v`,
  );
  const inClickHouse = framedClickHouse(form, 'x', clickHouseType.startsWith('Nullable'));
  const [clickHouse] = await databases.clickhouse<{ x: string }>(
    `select ${inClickHouse} as x from (select cast(${value} as ${clickHouseType}) as x)`,
  );
  return [postgres!.x, clickHouse!.x];
}

describe('one value, one text in both databases', () => {
  test.each<[ColumnType, string, string, string]>([
    [base('numeric'), '120.50', 'Decimal(12, 2)', "'120.5'"],
    [base('numeric'), '-0.00', 'Nullable(Decimal(12, 2))', "'0'"],
    [
      base('numeric'),
      '12345678901234567890123456789012345678.000000000000000000000000000001',
      'Decimal(76, 30)',
      "'12345678901234567890123456789012345678.000000000000000000000000000001'",
    ],
    [base('int8'), "'-9223372036854775808'", 'Int64', "'-9223372036854775808'"],
    [base('float4'), "'1e-45'", 'Float32', "'1e-45'"],
    [base('float8'), "'-0'", 'Float64', "'-0'"],
    [base('float8'), "'NaN'", 'Nullable(Float64)', "'nan'"],
    [
      base('timestamptz'),
      "'1969-12-31 23:59:59.999999+00'",
      "DateTime64(6, 'UTC')",
      "'1969-12-31 23:59:59.999999'",
    ],
    [base('date'), "'1900-01-01'", 'Date32', "'1900-01-01'"],
    [base('text'), 'null', 'Nullable(String)', 'null'],
    [base('text'), "''", 'Nullable(String)', "''"],
    [base('text'), "'~'", 'LowCardinality(String)', "'~'"],
    [base('bytea'), "'\\x005c'", 'String', "unhex('005c')"],
    [arrayOf('int4'), "'{1,NULL,3}'", 'Array(Nullable(Int32))', '[1, NULL, 3]'],
    [arrayOf('int4'), "'{}'", 'Array(Nullable(Int32))', '[]'],
    [arrayOf('text'), `'{"a,b",NULL,"NULL",""}'`, 'Array(Nullable(String))', "['a,b', NULL, 'NULL', '']"],
    [arrayOf('int4'), "'{{1,2},{3,4}}'", 'Array(Array(Int32))', '[[1, 2], [3, 4]]'],
    [arrayOf('float8'), "'{-0,NaN}'", 'Array(Float64)', '[-0., nan]'],
  ])('%o %s is %s %s', async (type, literal, clickHouseType, value) => {
    const [postgres, clickHouse] = await both(type, literal, clickHouseType, value);
    expect(clickHouse).toBe(postgres);
  });

  test.each<[ColumnType, string, string, string]>([
    [base('float8'), "'0'", 'Float64', "'-0'"],
    [base('text'), 'null', 'Nullable(String)', "''"],
    [base('text'), "'~'", 'Nullable(String)', 'null'],
    [base('timestamptz'), "'2026-01-01 00:00:00.000001+00'", "DateTime64(6, 'UTC')", "'2026-01-01'"],
    [base('timestamptz'), "'infinity'", "DateTime64(6, 'UTC')", "'2299-12-31 23:59:59.999999'"],
    [base('numeric'), '0.01', 'Decimal(12, 2)', "'0.02'"],
    [arrayOf('int4'), "'{1,NULL}'", 'Array(Nullable(Int32))', '[1]'],
    [arrayOf('int4'), "'{{1,2},{3,4}}'", 'Array(Int32)', '[1, 2, 3, 4]'],
    [arrayOf('text'), "'{ab,c}'", 'Array(String)', "['a', 'bc']"],
    [arrayOf('int4'), 'null', 'Array(Int32)', '[]'],
  ])('%o %s is not %s %s', async (type, literal, clickHouseType, value) => {
    const [postgres, clickHouse] = await both(type, literal, clickHouseType, value);
    expect(clickHouse).not.toBe(postgres);
  });

  test.each([
    [base('text'), 'Int64'],
    [base('float8'), 'Decimal(12, 2)'],
    [base('jsonb'), 'Map(String, String)'],
    [arrayOf('int4'), 'Tuple(Int32, Int32)'],
  ])('%o has no common form with %s', (type, clickHouseType) => {
    expect(sqlForm(type, clickHouseType)).toBeNull();
  });
});
