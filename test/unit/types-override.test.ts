import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/cli/config.js';
import { CANNOT_HOLD, VALUE_ROOM } from '../../src/sink/encoders.js';
import { ARRAY_GROWTH } from '../../src/sink/array-encoder.js';
import { databasesFor } from '../../src/sink/names.js';
import { planTable } from '../../src/sink/plan.js';
import { chosenMapping, requireMapping } from '../../src/sink/type-override.js';
import { relationOf, typeOf } from '../support/tuples.js';

/** What the chosen type's encoder makes of a text; null when it cannot be held. */
function encoded(type: string, chosen: string, text: string): string | null {
  const { encode } = chosenMapping(typeOf(type), chosen)!;
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(ARRAY_GROWTH * bytes.length + VALUE_ROOM);
  const at = encode(out, 0, bytes, 0, bytes.length);
  return at === CANNOT_HOLD ? null : out.toString('utf8', 0, at);
}

describe('a chosen type', () => {
  it.each([
    ['numeric', 'Decimal(38,10)', '1.5', '1.5'],
    ['numeric', 'Decimal(38, 10)', 'NaN', null],
    ['numeric', 'Int256', `1${'0'.repeat(76)}`, `1${'0'.repeat(76)}`],
    ['numeric', 'UInt8', '256', null],
    ['numeric', 'LowCardinality(String)', 'null', null],
    ['int8', 'UInt64', '-1', null],
    ['int4', 'Decimal(5, 2)', '1000', null],
    ['timestamptz', "DateTime64(0, 'UTC')", '2026-01-01 00:00:00+00', '2026-01-01 00:00:00'],
    ['timestamp', "DateTime64(0, 'UTC')", '2026-01-01 00:00:00.1', null],
    ['int4[]', 'Array(Int32)', '{1,-2}', '[1,-2]'],
    ['int4[]', 'Array(Int32)', '{1,NULL}', null],
    ['int4[]', 'Array(Nullable(Int32))', '{1,NULL}', '[1,NULL]'],
    ['int4[]', 'Array(Array(Int32))', '{{1},{2}}', '[[1],[2]]'],
    ['int4[]', 'Array(Array(Int32))', '{1}', null],
    ['int4[]', 'Array(Int32)', '[0:0]={1}', null],
    ['int4[]', 'Array(Int32)', '{1', null],
    ['int4[]', 'Array(Int32)', '{1,}', null],
    ['int4[]', 'Array(Int32)', '{1}}', null],
    ['int4[]', 'Array(Int32)', '', null],
    ['text[]', 'Array(String)', `{',"a,\\"\\\\","NULL",null\t}`, `['\\'','a,"\\\\','NULL','null\\t']`],
    ['text[]', 'Array(LowCardinality(String))', '{a}', `['a']`],
    ['text[]', 'Array(String)', '{"a', null],
    ['text[]', 'Array(String)', '{"a\\', null],
    ['bool[]', 'Array(Bool)', '{t,f}', '[true,false]'],
  ])('%s as %s: %j is %j', (type, chosen, text, expected) => {
    expect(encoded(type, chosen, text)).toBe(expected);
  });

  it('never needs more room than is made for it', () => {
    for (const [type, chosen, element] of [
      ['text[]', 'Array(String)', `'`],
      ['text[]', 'Array(String)', '\b'],
      ['bool[]', 'Array(Bool)', 'f'],
    ] as const) {
      expect(
        encoded(type, chosen, `{${Array.from({ length: 5000 }, () => element).join(',')}}`),
      ).not.toBeNull();
    }
  });

  it.each([
    ['float4', 'Float64'],
    ['float8', 'Decimal(10, 2)'],
    ['numeric', 'Float64'],
    ['numeric(12,2)', 'Int64'],
    ['numeric', 'Decimal(77, 0)'],
    ['numeric', 'Decimal(5, 6)'],
    ['int4', 'Nullable(Int64)'],
    ['int4', 'Int33'],
    ['text', 'FixedString(3)'],
    ['text', 'Array(String)'],
    ['timestamptz', "DateTime64(9, 'UTC')"],
    ['timestamptz', "DateTime64(6, 'Europe/Berlin')"],
    ['timestamptz', 'DateTime'],
    ['jsonb', 'JSON'],
    ['int4[]', 'Array(Array(String'],
    ['int4[]', 'Array(Nullable(LowCardinality(String)))'],
    ['box[]', 'Array(String)'],
    ['text', 'String) engine = Memory --'],
  ])('%s as %s is refused with what is possible', (type, chosen) => {
    expect(() => requireMapping('public.t', 'c', typeOf(type), chosen)).toThrowError(
      expect.objectContaining({
        kind: 'config_invalid',
        what: expect.stringContaining('tables.public.t.columns.c.type') as string,
        fix: expect.stringContaining('String; LowCardinality(String)') as string,
      }) as Error,
    );
  });

  it.each([
    ['a column that is not there', { nope: { type: 'String' } }, /no such column/],
    ['an array in the key', { k: { type: 'Array(Int32)' } }, /part of the key/],
    ['a retention column that is no date any more', { at: { type: 'String' } }, /retention/],
  ])('refuses %s before anything is made', (_, columns, message) => {
    const relation = relationOf('public.t', { k: 'int4[] not null', at: 'timestamptz' });
    expect(() =>
      planTable(relation, {
        databases: databasesFor('shop'),
        name: 't',
        retention: { column: 'at', keep: { count: 1, unit: 'year' } },
        history: false,
        martColumns: [],
        columns,
      }),
    ).toThrowError(message);
  });

  it('is read from the configuration, which takes nothing else of a column', () => {
    const yaml = (column: string): string => `
      source: { url: 'postgres://h/d' }
      sink: { url: 'https://h', database: shop }
      tables: { public.t: { columns: { amount: ${column} } } }`;
    const { tables } = parseConfig(yaml(`{ type: 'Decimal(38, 10)' }`), 'walhouse.yaml', {});
    expect(tables['public.t']!.columns).toEqual({ amount: { type: 'Decimal(38, 10)' } });
    for (const wrong of [`{ typ: String }`, `{ type: 5 }`, `String`, `{}`])
      expect(() => parseConfig(yaml(wrong), 'walhouse.yaml', {})).toThrowError(/tables\.public\.t\.columns/);
  });
});
