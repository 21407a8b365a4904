import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apply, sinkFixture, snapshot, type SinkFixture } from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_types');
});
afterAll(() => fixture.close());

interface Case {
  /** The ClickHouse type that the column must have, without Nullable. */
  readonly becomes: string;
  /** How the column is read back as text, with `v` for the column. */
  readonly read?: string;
  /** Postgres's text, and what ClickHouse says of it where that is another text. */
  readonly held: readonly (string | readonly [string, string])[];
  readonly refused?: readonly string[];
}

const DIGITS_76 = '1234567890'.repeat(8).slice(0, 76);
const EVERY_BYTE = String.fromCharCode(...Array.from({ length: 127 }, (_, i) => i + 1));
/** The bits of a Float64, as the hexadecimal of its bytes. */
const BITS = 'hex(reinterpretAsString(v))';

function bits(value: number, kind: 'Float32' | 'Float64'): string {
  const bytes = Buffer.alloc(kind === 'Float32' ? 4 : 8);
  if (kind === 'Float32') bytes.writeFloatLE(value);
  else bytes.writeDoubleLE(value);
  // A string has no zero bytes at its end.
  return bytes
    .toString('hex')
    .toUpperCase()
    .replace(/(00)+$/, '');
}

function floats(kind: 'Float32' | 'Float64', texts: readonly string[]): [string, string][] {
  return texts.map((text) => [text, bits(Number(text), kind)]);
}

const TEXTS = [
  '',
  'plain',
  ' with spaces ',
  'tab\tnewline\nreturn\rbackslash\\',
  `both ' and "`,
  '\\N',
  'NULL',
  '\\',
  '\\t',
  '\u2028\u{1f600} é',
  EVERY_BYTE,
  'x'.repeat(100_000),
  `${'y'.repeat(100)}\t${'z'.repeat(100)}\n`,
];
const HELD_MOMENTS = [
  ['2026-11-21 08:59:59.962001', '2026-11-21 08:59:59.962001'],
  ['2026-11-21 08:59:59', '2026-11-21 08:59:59.000000'],
  ['2026-11-21 08:59:59.5', '2026-11-21 08:59:59.500000'],
  ['1900-01-01 00:00:00', '1900-01-01 00:00:00.000000'],
  ['1900-01-01 00:00:00.000001', '1900-01-01 00:00:00.000001'],
  ['1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999'],
  ['1970-01-01 00:00:00', '1970-01-01 00:00:00.000000'],
  ['2105-06-07 01:02:03.000004', '2105-06-07 01:02:03.000004'],
  ['2262-04-11 23:47:16.854776', '2262-04-11 23:47:16.854776'],
  ['2299-12-31 23:59:59.999999', '2299-12-31 23:59:59.999999'],
  ['2024-02-29 23:00:00', '2024-02-29 23:00:00.000000'],
] as const;
const REFUSED_MOMENTS = [
  'infinity',
  '-infinity',
  '1899-12-31 23:59:59.999999',
  '2300-01-01 00:00:00',
  '0001-01-01 00:00:00',
  '10000-01-01 00:00:00',
  '294276-12-31 23:59:59.999999',
  '4713-01-01 00:00:00 BC',
];

const CASES: Record<string, Case> = {
  bool: { becomes: 'Bool', held: [['t', 'true'], ['f', 'false']] }, // prettier-ignore
  int2: { becomes: 'Int16', held: ['-32768', '32767', '0'], refused: ['32768', '-32769', ''] },
  int4: { becomes: 'Int32', held: ['-2147483648', '2147483647'], refused: ['2147483648'] },
  int8: {
    becomes: 'Int64',
    held: ['-9223372036854775808', '9223372036854775807', '9007199254740993', '-1'],
    refused: ['9223372036854775808', '-9223372036854775809', '99999999999999999999', '1.5', '-'],
  },
  oid: { becomes: 'UInt32', held: ['0', '4294967295'], refused: ['4294967296', '-1'] },
  float4: {
    becomes: 'Float32',
    read: 'hex(reinterpretAsString(v))',
    held: [
      ...floats('Float32', ['0', '-0', '0.1', '1e-45', '3.4028235e+38', '-1.1754944e-38', '16777216']),
      ['Infinity', '0000807F'],
      ['-Infinity', '000080FF'],
      ['NaN', '0000C07F'],
    ],
  },
  float8: {
    becomes: 'Float64',
    read: BITS,
    held: [
      ...floats('Float64', [
        '-0',
        '0.30000000000000004',
        '5e-324',
        '1.7976931348623157e+308',
        '2.2250738585072014e-308',
        '2.225073858507201e-308',
        '9007199254740993',
        '1e+23',
        '8.41e+21',
        '123456789.12345679',
      ]),
      ['Infinity', '000000000000F07F'],
      ['-Infinity', '000000000000F0FF'],
      ['NaN', '000000000000F87F'],
    ],
  },
  'numeric(12,2)': {
    becomes: 'Decimal(12, 2)',
    held: ['0', '12.5', '-9999999999.99', ['9999999999.90', '9999999999.9'], ['0.10', '0.1'], ['1.000', '1']],
    refused: ['NaN', 'Infinity', '-Infinity', '10000000000', '0.001', '1e5', ''],
  },
  'numeric(76,38)': {
    becomes: 'Decimal(76, 38)',
    held: [
      `${DIGITS_76.slice(0, 38)}.${DIGITS_76.slice(0, 37)}1`,
      `-${DIGITS_76.slice(0, 38)}.5`,
      '0.00000000000000000000000000000000000001',
    ],
  },
  'numeric(38,0)': {
    becomes: 'Decimal(38, 0)',
    held: ['9'.repeat(38), `-${'9'.repeat(38)}`],
    refused: ['9'.repeat(39)],
  },
  'numeric(5,5)': { becomes: 'Decimal(5, 5)', held: ['0.12345', '-0.99999'], refused: ['1', '0.123456'] },
  numeric: { becomes: 'String', held: ['1e130', `1${'0'.repeat(130)}`, '1.10', 'NaN', '-Infinity'] },
  'numeric(77,0)': { becomes: 'String', held: ['9'.repeat(77)] },
  'numeric(5,-2)': { becomes: 'String', held: ['1200'] },
  'numeric(3,5)': { becomes: 'String', held: ['0.00123'] },
  text: { becomes: 'String', held: TEXTS },
  varchar: { becomes: 'String', held: TEXTS },
  jsonb: { becomes: 'String', held: ['{"a": 12345678901234567890.10}', 'null', '"x\\ty"', '[]'] },
  date: {
    becomes: 'Date32',
    held: ['1900-01-01', '1969-12-31', '1970-01-01', '2026-11-21', '2149-06-07', '2299-12-31'],
    refused: ['1899-12-31', '2300-01-01', 'infinity', '-infinity', '4713-01-01 BC', '10000-01-01'],
  },
  timestamp: { becomes: "DateTime64(6, 'UTC')", held: HELD_MOMENTS, refused: REFUSED_MOMENTS },
  timestamptz: {
    becomes: "DateTime64(6, 'UTC')",
    held: HELD_MOMENTS.map(([moment, text]) => [`${moment}+00`, text]),
    refused: [
      ...REFUSED_MOMENTS.map((moment) => `${moment}+00`),
      'infinity',
      '2026-01-01 00:00:00+02',
      '2026-01-01 00:00:00',
    ],
  },
  uuid: {
    becomes: 'UUID',
    held: ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-4fff-bfff-ffffffffffff'],
  },
  bytea: {
    becomes: 'String',
    read: 'lower(hex(v))',
    held: [['\\x', ''], ['\\x000102090a0d5c27ff00', '000102090a0d5c27ff00'], [`\\x${'deadbeef'.repeat(5000)}`, 'deadbeef'.repeat(5000)]], // prettier-ignore
    refused: ['\\xabc', 'abc', '\\xzz'],
  },
  'enum:a|b c|': { becomes: 'LowCardinality(String)', held: ['a', 'b c', '', 'renamed since'] },
  'int4[]': { becomes: 'String', held: ['{1,NULL,3}', '{}', '{{1,2},{3,4}}'] },
  'text[]': { becomes: 'String', held: ['{"a,b","\\"q\\"",NULL,"NULL"}'] },
  interval: { becomes: 'String', held: ['1 year 2 mons -3 days 04:05:06.789'] },
  time: { becomes: 'String', held: ['24:00:00'] },
  inet: { becomes: 'String', held: ['::1/128'] },
  money: { becomes: 'String', held: ['$1,234.50'] },
  'public.hstore': { becomes: 'String', held: ['"a"=>"b", "c"=>NULL'] },
  'public.date': { becomes: 'String', held: ['anything'] },
};

describe('values', () => {
  it.each(Object.keys(CASES))('of %s arrive exactly or not at all', async (type) => {
    const { becomes, read, held, refused = [] } = CASES[type]!;
    const relation = relationOf(`public.t${Object.keys(CASES).indexOf(type)}`, {
      id: 'int4 not null',
      v: type,
      w: `${type} not null`,
    });
    const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
    const pairs = held.map((value) => (typeof value === 'string' ? ([value, value] as const) : value));
    const rows = [...pairs.map(([text]) => text), ...refused].map((v, id) => ({ id: `${id}`, v, w: v }));
    const half = Math.ceil(rows.length / 2);
    await snapshot(sink, relation, 0x1000n, rows.slice(0, half));
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [...rows.slice(half), { id: '9999', v: null, w: pairs[0]![0] }].map((row) => ({
        op: 'insert',
        relation,
        row,
      })),
    });
    const columns = await fixture.query<{ type: string }>(
      `select type from system.columns where database = '${fixture.landing}' and table = '${relation.name}' and name in ('v', 'w') order by name`,
    );
    const low = becomes.startsWith('LowCardinality');
    expect(columns.map((column) => column.type)).toEqual([
      low ? 'LowCardinality(Nullable(String))' : `Nullable(${becomes})`,
      becomes,
    ]);
    for (const column of ['v', 'w']) {
      const expression = (read ?? 'toString(v)').replace('v', column);
      const stored = await fixture.query<{ id: number; text: string | null }>(
        `select id, ${expression} as text from ${fixture.database}.${relation.name} order by id`,
      );
      expect(stored.slice(0, -1).map(({ text }) => text)).toEqual(pairs.map(([, text]) => text));
      expect(stored.at(-1)).toEqual({ id: 9999, text: column === 'v' ? null : pairs[0]![1] });
    }
    expect(sink.quarantined().get(relation.id) ?? 0).toBe(refused.length);
  });
});

describe('random values', () => {
  it('of floats and decimals arrive bit for bit', async () => {
    const relation = relationOf('public.many', {
      id: 'int4 not null',
      d: 'float8',
      f: 'float4',
      n: 'numeric(40,20)',
    });
    const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
    const bytes = Buffer.alloc(8);
    const expected: { d: string; f: string; n: string }[] = [];
    const rows = Array.from({ length: 20_000 }, (_, id) => {
      for (let i = 0; i < 8; i += 1) bytes[i] = (Math.imul(id * 8 + i + 1, 2654435761) >>> 13) & 0xff;
      const d = bytes.readDoubleLE();
      const f = bytes.readFloatLE();
      const n = `${bytes.readBigInt64LE()}.${String(bytes.readUInt32LE()).padStart(19, '1')}7`;
      expected.push({ d: bits(d, 'Float64'), f: bits(f, 'Float32'), n });
      return {
        id: `${id}`,
        d: Number.isNaN(d) ? 'NaN' : String(d),
        f: Number.isNaN(f) ? 'NaN' : String(Number(f.toPrecision(9))),
        n,
      };
    });
    await snapshot(sink, relation, 0x1000n, rows);
    const stored = await fixture.query<{ d: string; f: string; n: string }>(
      `select hex(reinterpretAsString(d)) as d, hex(reinterpretAsString(f)) as f, toString(n) as n from ${fixture.database}.many order by id`,
    );
    const nan = (row: { d: string; f: string; n: string }, i: number): typeof row => ({
      d: rows[i]!.d === 'NaN' ? '' : row.d,
      f: rows[i]!.f === 'NaN' ? '' : row.f,
      n: row.n,
    });
    expect(stored.map(nan)).toEqual(expected.map(nan));
  });
});
