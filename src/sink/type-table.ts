import type { ColumnType } from '../pipeline/relation.js';
import { possibleTypes } from './type-override.js';
import { mappingOf } from './types.js';

/** One line of docs/TYPES.md: source types that are kept the same way. */
interface TypeLine {
  /** As `pg_type` calls them. */
  readonly names: readonly string[];
  readonly kind?: ColumnType['kind'];
  /** `numeric(p,s)` is told apart by its modifier. */
  readonly shown?: string;
  readonly modifier?: number;
  readonly exact: string;
  readonly quarantined: string;
}

const NOTHING = 'nothing';
const NUMERIC_12_2 = ((12 << 16) | 2) + 4;
const NUMERIC_77_0 = (77 << 16) + 4;

/** Every built-in type, in the order of the document. */
const TYPE_LINES: readonly TypeLine[] = [
  { names: ['bool'], exact: 'every value', quarantined: NOTHING },
  { names: ['int2'], exact: 'every value', quarantined: NOTHING },
  { names: ['int4'], exact: 'every value', quarantined: NOTHING },
  { names: ['int8'], exact: 'every value', quarantined: NOTHING },
  { names: ['oid'], exact: 'every value', quarantined: NOTHING },
  {
    names: ['float4'],
    exact: 'every value to the bit, -0, NaN and the infinities too',
    quarantined: NOTHING,
  },
  {
    names: ['float8'],
    exact: 'every value to the bit, -0, NaN and the infinities too',
    quarantined: NOTHING,
  },
  {
    names: ['numeric'],
    shown: '`numeric(p,s)`, p to 76, s from 0 to p',
    modifier: NUMERIC_12_2,
    exact: 'every number; zeros at its end are not shown',
    quarantined: 'NaN',
  },
  {
    names: ['numeric'],
    shown: '`numeric`, and `numeric(p,s)` outside of that',
    modifier: NUMERIC_77_0,
    exact: 'every digit, NaN and the infinities too',
    quarantined: NOTHING,
  },
  { names: ['money'], exact: 'its text, as `lc_monetary` has it', quarantined: NOTHING },
  {
    names: ['date'],
    exact: '1900-01-01 to 2299-12-31',
    quarantined: 'other dates, infinity, -infinity',
  },
  {
    names: ['timestamp'],
    exact: '1900 to 2299, to the microsecond, as if it were UTC',
    quarantined: 'other years, infinity, -infinity',
  },
  {
    names: ['timestamptz'],
    exact: '1900 to 2299 in UTC, to the microsecond',
    quarantined: 'other years, infinity, -infinity',
  },
  {
    names: ['time', 'timetz', 'interval'],
    exact: 'its text; `24:00:00`, offsets, and months apart from days',
    quarantined: NOTHING,
  },
  {
    names: ['text', 'varchar', 'bpchar', 'char', 'name'],
    exact: 'every character; `bpchar` with its padding',
    quarantined: NOTHING,
  },
  { names: ['bytea'], exact: 'the bytes themselves', quarantined: NOTHING },
  { names: ['uuid'], exact: 'every value', quarantined: NOTHING },
  {
    names: ['json', 'jsonb', 'jsonpath', 'xml'],
    exact: 'its text, digit for digit; JSON null is `null`, SQL null is null',
    quarantined: NOTHING,
  },
  { names: ['inet'], exact: 'its text, with a mask where it has one', quarantined: NOTHING },
  { names: ['cidr', 'macaddr', 'macaddr8'], exact: 'its text', quarantined: NOTHING },
  { names: ['bit', 'varbit'], exact: 'its digits as text', quarantined: NOTHING },
  {
    names: ['point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle'],
    exact: 'its text',
    quarantined: NOTHING,
  },
  { names: ['tsvector', 'tsquery', 'gtsvector'], exact: 'its text', quarantined: NOTHING },
  {
    names: ['int4range', 'int8range', 'numrange', 'tsrange', 'tstzrange', 'daterange'],
    kind: 'range',
    exact: 'its text',
    quarantined: NOTHING,
  },
  {
    names: [
      'int4multirange',
      'int8multirange',
      'nummultirange',
      'tsmultirange',
      'tstzmultirange',
      'datemultirange',
    ],
    kind: 'multirange',
    exact: 'its text',
    quarantined: NOTHING,
  },
  {
    names: ['pg_lsn', 'pg_snapshot', 'txid_snapshot', 'xid', 'xid8', 'cid', 'tid', 'refcursor', 'aclitem'],
    exact: 'its text',
    quarantined: NOTHING,
  },
  {
    names: [
      'regclass',
      'regcollation',
      'regconfig',
      'regdictionary',
      'regnamespace',
      'regoper',
      'regoperator',
      'regproc',
      'regprocedure',
      'regrole',
      'regtype',
    ],
    exact: 'its text: the name of what it points to, as it was when the row was written',
    quarantined: NOTHING,
  },
  { names: ['int2vector', 'oidvector'], exact: 'its text', quarantined: NOTHING },
  {
    names: ['enum'],
    kind: 'enum',
    shown: 'an enum',
    exact: 'the label, as it was called when the row was written',
    quarantined: NOTHING,
  },
  {
    names: ['array'],
    kind: 'array',
    shown: 'an array',
    exact: 'its text, `{1,NULL,3}`: any dimensions and bounds',
    quarantined: NOTHING,
  },
  {
    names: ['record'],
    kind: 'composite',
    shown: 'a composite type',
    exact: 'its text, `(1,"a,b")`',
    quarantined: NOTHING,
  },
  {
    names: ['public.hstore'],
    shown: '`hstore`',
    exact: 'its text, `"a"=>"1", "b"=>NULL`',
    quarantined: NOTHING,
  },
  {
    names: ['public.unknown'],
    shown: 'any other (`citext`, `ltree`, PostGIS, ...)',
    exact: 'what its output function prints',
    quarantined: NOTHING,
  },
];

/** The table of docs/TYPES.md as Markdown lines, made from the code that decides. */
export function typeTable(): string[] {
  const rows = TYPE_LINES.map((line) => {
    const type = typeOf(line);
    const names = line.shown ?? line.names.map((name) => `\`${name}\``).join(', ');
    const base = line.modifier === NUMERIC_12_2 ? 'Decimal(p, s)' : mappingOf(type).base;
    return `| ${names} | \`${base}\` | ${line.exact} | ${line.quarantined} |`;
  });
  return ['| Postgres | ClickHouse | exact | quarantined |', '| --- | --- | --- | --- |', ...rows];
}

/** What may be chosen instead, by source type, as Markdown lines. */
export function choiceTable(): string[] {
  const rows = TYPE_LINES.flatMap((line) => {
    const others = possibleTypes(typeOf(line)).filter((text) => !/String\)?$/.test(text));
    const own = mappingOf(typeOf(line)).base;
    const offered = others.filter((text) => text !== own);
    if (offered.length === 0) return [];
    const names = line.shown ?? line.names.map((name) => `\`${name}\``).join(', ');
    return [`| ${names} | ${offered.map((text) => `\`${text}\``).join('; ')} |`];
  });
  return ['| Postgres | may be kept as |', '| --- | --- |', ...rows];
}

function typeOf({ names, kind = 'base', modifier = -1 }: TypeLine): ColumnType {
  const type: ColumnType = { name: names[0]!, kind, modifier, text: names[0]! };
  return kind === 'array' ? { ...type, element: { ...type, name: 'int4', kind: 'base' } } : type;
}
