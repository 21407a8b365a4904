/** One Postgres type with values that are hard to carry. Each table row of a test holds one of them. */
export interface ValueCase {
  /** As it stands in `create table`. */
  readonly type: string;
  /** SQL expressions of values that arrive exactly; the first must differ from the second. */
  readonly held: readonly string[];
  /** SQL expressions of values that go to quarantine. */
  readonly refused?: readonly string[];
  /** wal2json up to 2.5 writes these as null, in the type itself: quarantined when they come through its stream. */
  readonly lostByWal2json?: readonly string[];
  /** The ClickHouse type that the configuration chooses. */
  readonly chosen?: string;
  /** ClickHouse has no null of the chosen type. */
  readonly neverNull?: boolean;
}

const NINES = '9'.repeat(39);
const DIGITS_78 = `1${'0123456789'.repeat(7)}0123456`;
const MOMENTS = [
  `'2026-11-21 08:59:59.962001'`,
  `'2026-11-21 08:59:59'`,
  `'1900-01-01 00:00:00'`,
  `'1969-12-31 23:59:59.999999'`,
  `'2299-12-31 23:59:59.999999'`,
];
const FAR_MOMENTS = [
  `'infinity'`,
  `'-infinity'`,
  `'4713-01-01 00:00:00 BC'`,
  `'294276-12-31 23:59:59.999999'`,
  `'1899-12-31 23:59:59.999999'`,
  `'2300-01-01 00:00:00'`,
];
const TEXTS = [
  `''`,
  `E'tab\\t nl\\n cr\\r bs\\b ff\\f \\x01\\x1f\\x7f " \\' \\\\ / \\u2028 😀 é'`,
  `'\\N'`,
  `'\\\\N'`,
  `'NULL'`,
  `'null'`,
  `' spaces '`,
  `repeat('Ω\\', 3000)`,
];
const ZONED = (text: string): string =>
  text.includes('infinity') ? text : text.replace(/( BC)?'$/, (end) => `+00${end}`);
const NOT_FINITE = [`'NaN'`, `'Infinity'`, `'-Infinity'`];

/** By a name that a table may have. */
export const VALUE_CASES: Readonly<Record<string, ValueCase>> = {
  bool: { type: 'bool', held: ['true', 'false'] },
  int2: { type: 'int2', held: ['-32768', '32767', '0'] },
  int4: { type: 'int4', held: ['-2147483648', '2147483647'] },
  int8: { type: 'int8', held: ['-9223372036854775808', '9223372036854775807', '9007199254740993'] },
  oid: { type: 'oid', held: ['0', '4294967295'] },
  float4: {
    type: 'float4',
    held: [`'-0'`, '0.1', '1e-45', '3.4028235e38', '16777217'],
    lostByWal2json: NOT_FINITE,
  },
  float8: {
    type: 'float8',
    held: [`'-0'`, '0.1::float8 + 0.2', '5e-324', '1.7976931348623157e308', '9007199254740993', '8.41e21'],
    lostByWal2json: NOT_FINITE,
  },
  numeric: {
    type: 'numeric',
    held: ['1e130', '1e-68', NINES, `-${NINES}.5`, DIGITS_78, '1.10', '0.000', '-0'],
    lostByWal2json: NOT_FINITE,
  },
  numeric_12_2: {
    type: 'numeric(12,2)',
    held: ['0', '120.50', '9999999999.99', '-0.01'],
    refused: [`'NaN'`],
  },
  numeric_76_38: { type: 'numeric(76,38)', held: [`1e-38`, `-12345678901234567890123456789012345678.5`] },
  numeric_78_0: { type: 'numeric(78,0)', held: [DIGITS_78, '-1', `'NaN'`] },
  numeric_3_5: { type: 'numeric(3,5)', held: ['0.00123', '0', `'NaN'`] },
  numeric_5_m2: { type: 'numeric(5,-2)', held: ['1200', '-1234500', `'NaN'`] },
  money: { type: 'money', held: [`'-92233720368547758.08'`, `'1234.5'`] },
  date: {
    type: 'date',
    held: [`'1900-01-01'`, `'2299-12-31'`, `'1969-12-31'`, `'2024-02-29'`],
    refused: [
      `'1899-12-31'`,
      `'2300-01-01'`,
      `'infinity'`,
      `'-infinity'`,
      `'4713-01-01 BC'`,
      `'5874897-12-31'`,
    ],
  },
  timestamp: { type: 'timestamp', held: MOMENTS, refused: FAR_MOMENTS },
  timestamptz: { type: 'timestamptz', held: MOMENTS.map(ZONED), refused: FAR_MOMENTS.map(ZONED) },
  timestamptz_3: { type: 'timestamptz(3)', held: [`'2026-11-21 08:59:59.962+05:30'`, `'1970-01-01+00'`] },
  time: { type: 'time', held: [`'24:00:00'`, `'00:00:00.000001'`] },
  timetz: { type: 'timetz', held: [`'24:00:00-15:59'`, `'12:34:56.789+02'`] },
  interval: {
    type: 'interval',
    held: [`'1 year -2 months 3 days -04:05:06.789'`, `'-178000000 years'`, `'0'`],
  },
  text: { type: 'text', held: TEXTS },
  varchar: { type: 'varchar(6000)', held: TEXTS },
  bpchar: { type: 'char(5)', held: [`'ab'`, `''`] },
  name: { type: 'name', held: [`'a "name"'`, `''`] },
  quoted_char: { type: '"char"', held: [`'x'`, `''`] },
  bytea: {
    type: 'bytea',
    held: [`'\\x'`, `'\\x000102090a0d5c27ff00'`, `decode(repeat('00ff5c09', 3000), 'hex')`],
  },
  uuid: {
    type: 'uuid',
    held: [`'00000000-0000-0000-0000-000000000000'`, `'ffffffff-ffff-4fff-bfff-ffffffffffff'`],
  },
  json: {
    type: 'json',
    held: [
      `'{"a": 12345678901234567890.10, "a": [1e400,   null]}'`,
      `'null'`,
      `'"x\\ty\\u2028"'`,
      `'9007199254740993'`,
      `E'{\\n}'`,
    ],
  },
  jsonb: {
    type: 'jsonb',
    held: [`'{"a": 12345678901234567890.10}'`, `'null'`, `'"x\\ty"'`, `'[]'`, `'true'`],
  },
  jsonpath: { type: 'jsonpath', held: [`'$.a[*] ? (@ > 1)'`, `'$'`] },
  xml: { type: 'xml', held: [`'<a b="1">é &amp; "</a>'`, `''`] },
  bit: { type: 'bit(4)', held: [`B'1010'`, `B'0000'`] },
  varbit: { type: 'varbit', held: [`B'101'`, `B''`] },
  inet: { type: 'inet', held: [`'192.168.0.1/24'`, `'::1'`, `'10.0.0.1'`] },
  cidr: { type: 'cidr', held: [`'192.168.0.0/16'`, `'::/0'`] },
  macaddr: { type: 'macaddr', held: [`'08:00:2b:01:02:03'`, `'00:00:00:00:00:00'`] },
  macaddr8: { type: 'macaddr8', held: [`'08:00:2b:01:02:03:04:05'`, `'00:00:00:00:00:00:00:00'`] },
  point: { type: 'point', held: [`'(0.1,-0)'`, `'(NaN,Infinity)'`] },
  polygon: { type: 'polygon', held: [`'((0,0),(1,1.5),(2,0))'`, `'((1,1))'`] },
  tsvector: { type: 'tsvector', held: [`'a:1A ''b c'':2'`, `''`] },
  tsquery: { type: 'tsquery', held: [`'a & !b'`, `''`] },
  pg_lsn: { type: 'pg_lsn', held: [`'16/B374D848'`, `'0/0'`] },
  xid8: { type: 'xid8', held: [`'18446744073709551615'`, `'3'`] },
  int4range: { type: 'int4range', held: [`'[1,5)'`, `'empty'`, `'(,)'`] },
  tstzrange: { type: 'tstzrange', held: [`'[2026-01-01 00:00:00+00,infinity)'`, `'empty'`] },
  int8multirange: { type: 'int8multirange', held: [`'{[1,3),[5,)}'`, `'{}'`] },
  int_array: { type: 'int4[]', held: [`'{1,NULL,3}'`, `'{}'`, `'{{1,2},{3,4}}'`, `'[0:1]={1,2}'`] },
  text_array: {
    type: 'text[]',
    held: [`array['a,b', 'q"q', null, '', '\\', 'NULL', E'\\t\\n{}']`, `'{}'`, `'{NULL}'`],
  },
  float_array: { type: 'float8[]', held: [`'{NaN,Infinity,-0,0.1,NULL}'`, `'{}'`] },
  mood: { type: 'mood', held: [`'so "so"'`, `'ok'`, `''`] },
  pair: { type: 'pair', held: [`row(1, 'a,"b\\')::pair`, `row(null, null)::pair`] },
  amount: { type: 'amount', held: ['12.34', '0'], refused: [`'NaN'`] },
  ratio: { type: 'ratio', held: ['0.5', `'NaN'`, `'-Infinity'`] },
  hstore: { type: 'hstore', held: [`'a=>1, "b c"=>NULL, "q\\"q"=>"\\\\"'`, `''`] },
  citext: { type: 'citext', held: [`'MiXed'`, `''`] },
  ltree: { type: 'ltree', held: [`'a.b.c'`, `''`] },
  // Types chosen in the configuration.
  numeric_as_decimal: {
    type: 'numeric',
    chosen: 'Decimal(38, 10)',
    held: ['1.5000000000', '1234567890123456789012345678.0000000001', '-0.10'],
    refused: ['1e-11', '1e28', `'NaN'`, `'Infinity'`],
  },
  numeric_as_int: {
    type: 'numeric(20,0)',
    chosen: 'UInt64',
    held: ['18446744073709551615', '0'],
    refused: ['18446744073709551616', '-1', `'NaN'`],
  },
  int_as_small: { type: 'int8', chosen: 'Int16', held: ['-32768', '32767'], refused: ['32768'] },
  text_as_low: { type: 'text', chosen: 'LowCardinality(String)', held: TEXTS },
  date_as_text: { type: 'date', chosen: 'String', held: [`'infinity'`, `'4713-01-01 BC'`, `'2026-01-01'`] },
  date_as_short: {
    type: 'date',
    chosen: 'Date',
    held: [`'1970-01-01'`, `'2149-06-06'`],
    refused: [`'1969-12-31'`, `'2149-06-07'`, `'infinity'`],
  },
  moment_as_text: { type: 'timestamptz', chosen: 'String', held: [...MOMENTS, ...FAR_MOMENTS].map(ZONED) },
  moment_as_millis: {
    type: 'timestamptz',
    chosen: "DateTime64(3, 'UTC')",
    held: [`'2026-11-21 08:59:59.962+00'`, `'1900-01-01 00:00:00+00'`],
    refused: [`'2026-11-21 08:59:59.9621+00'`, `'infinity'`],
  },
  bool_as_number: { type: 'bool', chosen: 'UInt8', held: ['true', 'false'] },
  bool_as_text: { type: 'bool', chosen: 'String', held: ['true', 'false'] },
  inet_as_ipv4: {
    type: 'inet',
    chosen: 'IPv4',
    held: [`'10.0.0.1'`, `'255.255.255.255'`],
    refused: [`'10.0.0.0/8'`, `'::1'`],
  },
  inet_as_ipv6: {
    type: 'inet',
    chosen: 'IPv6',
    held: [`'::1'`, `'2001:db8::8a2e:370:7334'`, `'::ffff:10.0.0.1'`, `'1:0:0:2:0:0:0:3'`, `'::'`],
    refused: [`'10.0.0.1'`, `'2001:db8::/32'`],
  },
  ints_as_array: {
    type: 'int4[]',
    chosen: 'Array(Nullable(Int32))',
    held: [`'{1,NULL,-3}'`, `'{}'`],
    refused: [`'{{1,2},{3,4}}'`, `'[0:1]={1,2}'`],
    neverNull: true,
  },
  texts_as_array: {
    type: 'text[]',
    chosen: 'Array(String)',
    held: [
      `array['a,b', 'q"q', '''', '', '\\', 'NULL', E'\\t\\n\\r\\b{}\\x01é']`,
      `'{}'`,
      `array_fill(''''::text, array[500])`,
    ],
    refused: [`'{a,NULL}'`, `'{{a}}'`],
    neverNull: true,
  },
  matrix_as_array: {
    type: 'float8[]',
    chosen: 'Array(Array(Float64))',
    held: [`'{{1,2},{NaN,-Infinity}}'`, `'{}'`, `'{{-0,5e-324}}'`],
    refused: [`'{1}'`, `'{{NULL}}'`],
    neverNull: true,
  },
  moments_as_array: {
    type: 'timestamptz[]',
    chosen: "Array(Nullable(DateTime64(6, 'UTC')))",
    held: [`'{2026-11-21 08:59:59.5+00,NULL}'`, `'{}'`],
    refused: [`'{infinity}'`],
    neverNull: true,
  },
  hstore_as_map: {
    type: 'hstore',
    chosen: 'Map(String, Nullable(String))',
    held: [`'a=>1, "b c"=>NULL, "q\\"q"=>"\\\\", "it''s"=>"NULL", "tab\t"=>"new\nline", é=>ü, ""=>""'`, `''`],
    neverNull: true,
  },
  flags_as_array: { type: 'bool[]', chosen: 'Array(Bool)', held: [`'{t,f,t}'`, `'{}'`], neverNull: true },
  bytes_as_array: {
    type: 'bytea[]',
    chosen: 'Array(String)',
    held: [`array['\\x0027095c'::bytea, '\\x']`, `'{}'`],
    neverNull: true,
  },
};

/** Types and extensions that the cases use. */
export const VALUE_TYPES = `
  create extension hstore; create extension citext; create extension ltree;
  create type mood as enum ('ok', 'so "so"', '');
  create type pair as (a int, b text);
  create domain positive as numeric(10,2); create domain amount as positive;
  create domain ratio as float8;`;
