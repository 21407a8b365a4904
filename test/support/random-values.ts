/** A generator of integers below a limit. */
type Next = (limit: number) => number;

/** A value as text that Postgres reads. */
export interface RandomValue {
  readonly text: string;
  /** Its ClickHouse type cannot hold it. */
  readonly refused?: boolean;
  /** wal2json up to 2.5 writes null instead. */
  readonly lostByWal2json?: boolean;
}

export interface RandomType {
  readonly type: string;
  /** float4, float8 or numeric itself: NaN is null in wal2json's messages. */
  readonly mayBeNan: boolean;
  readonly draw: (next: Next) => RandomValue;
}

function pick<T>(next: Next, list: readonly T[]): T {
  return list[next(list.length)]!;
}

function digits(next: Next, count: number): string {
  let text = '';
  for (let i = 0; i < count; i += 1) text += next(10);
  return text;
}

function bits(next: Next, count: number): bigint {
  let value = 0n;
  for (let i = 0; i < count; i += 8) value = (value << 8n) | BigInt(next(256));
  return value;
}

const UGLY = ['\t', '\n', '\r', '\\', '"', "'", '\b', '\f', '\v', '\u0001', '\u007f', '\u2028', '\ufeff', '😀', 'é', '\\N', 'NULL', ',', '{', '}', '(', '`', ' ', '\u{10ffff}']; // prettier-ignore

function text(next: Next): string {
  const length = next(20) === 0 ? next(2_000) : next(12);
  let value = '';
  for (let i = 0; i < length; i += 1)
    value += next(3) === 0 ? pick(next, UGLY) : String.fromCharCode(32 + next(95));
  return value;
}

const NOT_FINITE = ['NaN', 'Infinity', '-Infinity'];

function float(next: Next, width: 32 | 64): RandomValue {
  if (next(8) === 0) return { text: pick(next, NOT_FINITE), lostByWal2json: true };
  if (next(8) === 0) return { text: pick(next, ['-0', '0', '1e-45', '1', '16777217', '0.1']) };
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(bits(next, 64));
  const value = width === 32 ? bytes.readFloatLE() : bytes.readDoubleLE();
  return Number.isFinite(value) ? { text: String(value) } : { text: 'NaN', lostByWal2json: true };
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** A year inside or outside of 1900 to 2299, and whether it is outside. */
function year(next: Next): { year: number; far: boolean } {
  const value = next(4) === 0 ? 1 + next(9_999) : 1_890 + next(420);
  return { year: value, far: value < 1_900 || value > 2_299 };
}

function date(next: Next): RandomValue {
  if (next(12) === 0) return { text: pick(next, ['infinity', '-infinity', '0044-03-15 BC']), refused: true };
  const { year: value, far } = year(next);
  return {
    text: `${String(value).padStart(4, '0')}-${two(1 + next(12))}-${two(1 + next(28))}`,
    refused: far,
  };
}

function moment(next: Next): RandomValue {
  const day = date(next);
  if (!/^\d{4}-\d\d-\d\d$/.test(day.text)) return day;
  const fraction = next(2) === 0 ? '' : `.${digits(next, 1 + next(6))}`;
  return { ...day, text: `${day.text} ${two(next(24))}:${two(next(60))}:${two(next(60))}${fraction}` };
}

function element(next: Next): string {
  return next(5) === 0 ? 'NULL' : `"${text(next).replace(/["\\]/g, '\\$&')}"`;
}

function jsonOf(next: Next, depth: number): string {
  switch (next(depth > 3 ? 4 : 6)) {
    case 0:
      return 'null';
    case 1:
      return `${next(2) === 0 ? '-' : ''}${1 + next(9)}${digits(next, next(30))}.${digits(next, 1 + next(5))}`;
    case 2:
      return JSON.stringify(text(next));
    case 3:
      return pick(next, ['true', 'false', '0', '""', '9007199254740993']);
    case 4:
      return `[${Array.from({ length: next(4) }, () => jsonOf(next, depth + 1)).join(', ')}]`;
    default:
      return `{${Array.from({ length: next(4) }, () => `${JSON.stringify(text(next))}: ${jsonOf(next, depth + 1)}`).join(',')}}`;
  }
}

function plain(type: string, draw: (next: Next) => string): RandomType {
  return { type, mayBeNan: false, draw: (next) => ({ text: draw(next) }) };
}

function integer(type: string, width: number): RandomType {
  return plain(type, (next) => {
    const half = 2n ** BigInt(width - 1);
    if (next(6) === 0) return String(pick(next, [-half, half - 1n, 0n, -1n]));
    return String(BigInt.asIntN(width, bits(next, width)) >> BigInt(next(width)));
  });
}

function numeric(type: string, whole: number, fraction: number, holdsAll: boolean): RandomType {
  const draw = (next: Next): RandomValue => {
    if (next(10) === 0) {
      if (!holdsAll) return { text: 'NaN', refused: true };
      return { text: pick(next, NOT_FINITE), lostByWal2json: true };
    }
    const tail = fraction === 0 ? '' : `.${digits(next, 1 + next(fraction))}`;
    return { text: `${next(2) === 0 ? '-' : ''}${digits(next, 1 + next(whole))}${tail}` };
  };
  return { type, mayBeNan: true, draw };
}

export const RANDOM_TYPES: Readonly<Record<string, RandomType>> = {
  bool: plain('bool', (next) => pick(next, ['t', 'f'])),
  int2: integer('int2', 16),
  int4: integer('int4', 32),
  int8: integer('int8', 64),
  float4: { type: 'float4', mayBeNan: true, draw: (next) => float(next, 32) },
  float8: { type: 'float8', mayBeNan: true, draw: (next) => float(next, 64) },
  numeric: numeric('numeric', 90, 40, true),
  numeric_12_2: numeric('numeric(12,2)', 10, 2, false),
  numeric_76_38: numeric('numeric(76,38)', 38, 38, false),
  date: { type: 'date', mayBeNan: false, draw: date },
  timestamp: { type: 'timestamp', mayBeNan: false, draw: moment },
  timestamptz: {
    type: 'timestamptz',
    mayBeNan: false,
    draw: (next) => {
      const value = moment(next);
      return value.text.includes(':') ? { ...value, text: `${value.text}+00` } : value;
    },
  },
  interval: plain(
    'interval',
    (next) =>
      `${next(200) - 100} mons ${next(200) - 100} days ${next(2) === 0 ? '-' : ''}${next(99)}:${two(next(60))}:${two(next(60))}.${digits(next, 6)}`,
  ),
  text: plain('text', text),
  bytea: plain(
    'bytea',
    (next) =>
      `\\x${bits(next, 8 * (1 + next(40)))
        .toString(16)
        .padStart(82, '0')}`,
  ),
  uuid: plain('uuid', (next) => bits(next, 128).toString(16).padStart(32, '0')),
  json: plain('json', (next) => jsonOf(next, 0)),
  jsonb: plain('jsonb', (next) => jsonOf(next, 0)),
  text_array: plain(
    'text[]',
    (next) => `{${Array.from({ length: next(5) }, () => element(next)).join(',')}}`,
  ),
  float_array: plain(
    'float8[]',
    (next) => `{${Array.from({ length: next(5) }, () => float(next, 64).text).join(',')}}`,
  ),
  varbit: plain('varbit', (next) => bits(next, 64).toString(2).slice(0, next(60))),
  inet: plain(
    'inet',
    (next) => `${next(256)}.${next(256)}.${next(256)}.${next(256)}${next(2) === 0 ? '' : `/${next(33)}`}`,
  ),
  int8range: plain(
    'int8range',
    (next) => `${pick(next, ['[', '('])}${next(99)},${100 + next(99)}${pick(next, [']', ')'])}`,
  ),
};
