import type { Random } from '../../src/dev/random.js';

type Kind = 'number' | 'text' | 'padded' | 'label' | 'bool' | 'uuid' | 'date' | 'timestamp' | 'timestamptz';

interface RandomColumn {
  readonly type: string;
  readonly kind: Kind;
  /** Texts of values that its type takes. */
  readonly values: readonly string[];
}

const UUIDS = ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC999C0B4EF8BB6D6BB9BD380A12', '{00000000-0000-0000-0000-000000000000}', 'ffffffff-ffff-ffff-ffff-ffffffffffff']; // prettier-ignore
const DAYS = ['2026-01-01', '2026-01-02', '2025-12-31', '1970-01-01', '0044-03-15 BC', '0001-12-31 BC', '0001-01-01', '9999-12-31', '10000-01-01', 'infinity', '-infinity', '5874897-12-31']; // prettier-ignore
const MOMENTS = ['2026-01-01 10:00', '2026-01-01 10:00:00.001', '2026-01-01 10:00:00.0015', '2026-01-01 09:59:59.999999', '294276-12-31 23:59:59', '4714-11-24 00:00:00 BC', '0001-01-01 00:00:00 BC', 'infinity', '-infinity']; // prettier-ignore
const TEXTS = ['', ' ', 'a', 'A', 'ab', 'ä', 'ä', 'NULL', 'null', 'a"b', "a'b", 'a\\b', 'a,b', '{a}', 'walhouse_row.x', '😀', 'x AND y', '-- no', 'a\nb', ')']; // prettier-ignore
const LABELS = ['open', 'paid', 'NULL', "it's", 'two words'];
const NUMBERS = ['0', '1', '-1', '2', '10', '-10', '99', '100', '32767'];
const DECIMALS = [...NUMBERS, '0.00', '1.5', '-1.50', '1.49', '-0.01', '0.1', '12345678901.25', '100000000000000000000', '-99999999999999999999.5']; // prettier-ignore
const WHOLE = ['2147483647', '-2147483648'];
const FAR = ['9223372036854775807', '-9223372036854775808', '5000000000'];
const ODD = ['NaN', 'Infinity', '-Infinity', `1${'0'.repeat(60)}.${'0'.repeat(40)}1`];

/** A table whose every column a condition may read, declared by `COLUMN_TYPES`. */
const COLUMNS: Readonly<Record<string, RandomColumn>> = {
  sm: { type: 'smallint', kind: 'number', values: NUMBERS },
  i: { type: 'int', kind: 'number', values: [...NUMBERS, ...WHOLE] },
  b: { type: 'bigint', kind: 'number', values: [...NUMBERS, ...WHOLE, ...FAR] },
  n: { type: 'numeric', kind: 'number', values: [...DECIMALS, ...ODD] },
  n2: {
    type: 'numeric(20,2)',
    kind: 'number',
    values: [...NUMBERS, '1.5', '-1.50', '1.49', '12345678901.25', 'NaN'],
  },
  dn: { type: 'amount', kind: 'number', values: NUMBERS },
  t: { type: 'text', kind: 'text', values: TEXTS },
  v: { type: 'varchar(20)', kind: 'text', values: TEXTS },
  dv: { type: 'short', kind: 'text', values: TEXTS.filter((text) => text.length <= 5) },
  c: { type: 'char(3)', kind: 'padded', values: ['', ' ', 'a', 'EU', 'EUR', 'ä', 'a b', '  a'] },
  s: { type: 'state', kind: 'label', values: LABELS },
  'Mixed "Case"': { type: 'bool', kind: 'bool', values: ['true', 'false'] },
  select: { type: 'bool', kind: 'bool', values: ['t', 'f'] },
  u: { type: 'uuid', kind: 'uuid', values: UUIDS },
  d: { type: 'date', kind: 'date', values: DAYS },
  ts: { type: 'timestamp', kind: 'timestamp', values: MOMENTS },
  ts3: { type: 'timestamp(3)', kind: 'timestamp', values: MOMENTS },
  tz: {
    type: 'timestamptz',
    kind: 'timestamptz',
    values: [...MOMENTS, '2026-01-01 10:00+05', '2026-01-01 10:00 Europe/Berlin'],
  },
};

export const CONDITION_TABLE = `
  create type state as enum ('open', 'paid', 'NULL', 'it''s', 'two words');
  create domain amount as numeric(12,2);
  create domain short as varchar(10);
  create table conditions (id int primary key, other jsonb, ${Object.entries(COLUMNS)
    .map(([name, { type }]) => `${quoteName(name)} ${type}`)
    .join(', ')});`;

function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** An INSERT of so many rows, nulls among their values. */
export function randomRows(random: Random, count: number): string {
  const rows = Array.from({ length: count }, (_, id) => {
    const values = Object.values(COLUMNS).map(({ values: pool, type }) =>
      random.chance(0.2) ? `null::${type}` : `${quoteText(pool[random.below(pool.length)]!)}::${type}`,
    );
    return `(${id}, null, ${values.join(', ')})`;
  });
  return `insert into conditions values ${rows.join(',\n')}`;
}

/** A condition as somebody may write it: every form that is understood, over every type that is. */
export function randomCondition(random: Random, depth = 3): string {
  if (depth > 0 && random.chance(0.6)) {
    const parts = Array.from({ length: 2 + random.below(2) }, () => randomCondition(random, depth - 1));
    const whole = `(${parts.join(random.chance(0.5) ? ' and ' : ' or ')})`;
    if (random.chance(0.2)) return `not ${whole}`;
    return random.chance(0.1) ? `${whole} is ${random.pick(['true', 'not true', 'false', 'not false', 'unknown', 'not unknown'])}` : whole; // prettier-ignore
  }
  return leaf(random);
}

const EQUALITY = ['=', '<>', '!='];
const ORDER = ['<', '<=', '>', '>=', ...EQUALITY];

function leaf(random: Random): string {
  const [name, column] = random.pick(Object.entries(COLUMNS));
  const { kind, values } = column;
  const quoted = quoteName(name);
  const isOrdered = !['text', 'padded', 'label'].includes(kind);
  const constant = (): string => {
    if (random.chance(0.06)) return 'null';
    if (kind === 'number' && random.chance(0.3)) return random.pick([...DECIMALS, ...FAR]);
    const text = random.pick(values);
    // Written bare, a number has the type that its digits ask for.
    if (kind === 'number') return random.chance(0.5) && /^-?[0-9.]+$/.test(text) ? text : quoteText(text);
    return kind === 'bool' && random.chance(0.5)
      ? text.startsWith('t')
        ? 'true'
        : 'false'
      : quoteText(text);
  };
  const operator = random.pick(isOrdered ? ORDER : EQUALITY);
  switch (random.below(kind === 'bool' ? 9 : 7)) {
    case 0:
      return `${quoted} is ${random.pick(['', 'not '])}null`;
    case 1:
      return `${quoted} is ${random.pick(['', 'not '])}distinct from ${constant()}`;
    case 2: {
      const list = Array.from({ length: 1 + random.below(4) }, constant).join(', ');
      return `${quoted} ${random.pick(['', 'not '])}in (${list})`;
    }
    case 3:
      return isOrdered
        ? `${quoted} between ${constant()} and ${constant()}`
        : `other is ${random.pick(['', 'not '])}null`;
    case 4: {
      const same = Object.entries(COLUMNS).filter(([, other]) => other.kind === kind);
      return `${quoted} ${operator} ${quoteName(random.pick(same)[0])}`;
    }
    case 7:
      return `${random.pick(['', 'not '])}${quoted}`;
    case 8:
      return `${quoted} is ${random.pick(['', 'not '])}${random.pick(['true', 'false', 'unknown'])}`;
    default:
      return `${quoted} ${operator} ${constant()}`;
  }
}
