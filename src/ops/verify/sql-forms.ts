import type { ColumnType } from '../../pipeline/relation.js';

/**
 * How one column's values become the same text in both databases' own SQL. It starts from the two types alone and knows nothing of how
 * rows are written, so that it can find the writer's mistakes.
 */
export interface SqlForm {
  /** An expression of type text over a quoted column; null for null. */
  readonly postgres: (column: string, toUtf8: ToUtf8) => string;
  /** An expression of type String over a value that is not null. */
  readonly clickhouse: (value: string) => string;
  /** The text can hold any character, so its length must stand in front of it when columns are joined. */
  readonly free: boolean;
}

/** `Nullable` and `LowCardinality` taken off. */
export interface BareType {
  readonly name: string;
  /** What stands in the parentheses: `Int64` of `Array(Int64)`. */
  readonly argument: string;
  readonly text: string;
}

/** Microseconds and days from 1970, where ClickHouse counts from, to 2000, where Postgres does. */
const EPOCH_MICROS = 946_684_800_000_000n;
const EPOCH_DAYS = 10_957;

export function bareType(type: string): BareType {
  const text = type.trim();
  const match = /^(\w+)(?:\((.*)\))?$/s.exec(text);
  const name = match?.[1] ?? text;
  const argument = match?.[2] ?? '';
  return name === 'LowCardinality' || name === 'Nullable' ? bareType(argument) : { name, argument, text };
}

/** Null when the pair has no form: such a column is told apart and never counted as equal. */
export function sqlForm(postgres: ColumnType, clickHouseType: string): SqlForm | null {
  const type = bareType(clickHouseType);
  if (type.name === 'Array') return postgres.element === undefined ? null : arrayForm(postgres.element, type);
  if (postgres.kind === 'array' && type.name !== 'String') return null;
  if (/^U?Int\d+$|^Decimal/.test(type.name)) return numberForm(postgres.name);
  switch (type.name) {
    case 'Bool':
    case 'UUID':
      return postgres.name === type.name.toLowerCase() ? CAST : null;
    case 'Float32':
      return postgres.name === 'float4' ? floatForm(32) : null;
    case 'Float64':
      return postgres.name === 'float8' ? floatForm(64) : null;
    case 'Date':
    case 'Date32':
      return postgres.name === 'date' ? DATE : null;
    case 'DateTime':
    case 'DateTime64':
      return momentForm(postgres.name);
    case 'String':
    case 'FixedString':
    case 'Enum8':
    case 'Enum16':
      return postgres.name === 'bytea' ? BYTES : textForm(postgres.name);
    default:
      return null;
  }
}

const CAST: SqlForm = {
  postgres: (column) => `${column}::text`,
  clickhouse: (value) => `toString(${value})`,
  free: false,
};

function numberForm(name: string): SqlForm | null {
  if (/^(int[248]|oid)$/.test(name)) return CAST;
  // Equal when the number is: ClickHouse prints a Decimal without trailing zeros.
  return name === 'numeric' ? { ...CAST, postgres: (column) => `trim_scale(${column})::text` } : null;
}

/** By bits, so that -0 is not 0 and the last place counts; every NaN is the same one. */
function floatForm(width: 32 | 64): SqlForm {
  return {
    postgres: (column) =>
      `case when ${column} = 'NaN' then 'NaN' else encode(float${width / 8}send(${column}), 'hex') end`,
    clickhouse: (value) =>
      `if(isNaN(${value}), 'NaN', ${hexOf(`reinterpretAsUInt${width}(${value})`, width / 4)})`,
    free: false,
  };
}

const DATE: SqlForm = {
  postgres: (column) => `encode(date_send(${column}), 'hex')`,
  clickhouse: (value) => hexOf(`toInt32(toInt32(${value}) - ${EPOCH_DAYS})`, 8),
  free: false,
};

function momentForm(name: string): SqlForm | null {
  if (!/^(timestamp|timestamptz|date)$/.test(name)) return null;
  return {
    // What the server holds: microseconds, the infinities among them.
    postgres: (column) =>
      name === 'date'
        ? `encode(timestamp_send(${column}::timestamp), 'hex')`
        : `encode(${name}_send(${column}), 'hex')`,
    clickhouse: (value) =>
      hexOf(`toUnixTimestamp64Micro(toDateTime64(${value}, 6, 'UTC')) - ${EPOCH_MICROS}`, 16),
    free: false,
  };
}

const BYTES: SqlForm = {
  postgres: (column) => `encode(${column}, 'hex')`,
  clickhouse: (value) => `lower(hex(${value}))`,
  free: false,
};

function textForm(name: string): SqlForm {
  return {
    // A cast is not always what the type prints: char(n) would lose its blanks, inet would gain a mask.
    postgres: (column) =>
      name === 'text' || name === 'varchar'
        ? `${column}::text`
        : `case when ${column} is not null then format('%s', ${column}) end`,
    clickhouse: (value) => `toString(${value})`,
    free: true,
  };
}

/** Of a masked column: what Postgres prints goes through the mask here, ClickHouse has what came out of it. */
export function maskedForm(postgres: ColumnType): SqlForm {
  return textForm(postgres.name);
}

/** Its shape, then every element in the element's own form. */
function arrayForm(element: ColumnType, type: BareType): SqlForm | null {
  let depth = 1;
  let leafType = type.argument;
  for (let inner = bareType(leafType); inner.name === 'Array'; inner = bareType(leafType)) {
    depth += 1;
    leafType = inner.argument;
  }
  const leaf = sqlForm(element, leafType);
  if (leaf === null) return null;
  const levels = Array.from({ length: depth }, (_, level) => level);
  return {
    postgres: (column, toUtf8) => {
      const shape = levels
        .map((level) => `coalesce(array_length(${column}, ${level + 1}), 0)`)
        .join(`, 'x', `);
      const elements = `select coalesce(string_agg(${framedPostgres(leaf, 'u.x', toUtf8)}, '' order by u.o), '') from unnest(${column}) with ordinality u(x, o)`;
      return `case when ${column} is not null then concat(coalesce(array_ndims(${column}), 0), ':', ${shape}, ':', (${elements})) end`;
    },
    clickhouse: (value) => {
      const first = (level: number): string => `${value}${'[1]'.repeat(level)}`;
      const shape = levels.map((level) => `toString(length(${first(level)}))`).join(`, 'x', `);
      const flat = depth === 1 ? value : `arrayFlatten(${value})`;
      const elements = `arrayStringConcat(arrayMap(x -> ${framedClickHouse(leaf, 'x', /^(LowCardinality\()?Nullable/.test(leafType.trim()))}, ${flat}), '')`;
      return `concat(if(empty(${value}), '0', '${depth}'), ':', ${shape}, ':', ${elements})`;
    },
    free: true,
  };
}

/** Makes UTF-8 of a text expression, whatever the source's encoding; the identity where it is UTF-8 already. */
export type ToUtf8 = (text: string) => string;

/**
 * The value so framed that joined columns cannot be mistaken for others: null is `~`, a free text has its length in bytes in front, and
 * each ends with a comma.
 */
export function framedPostgres(form: SqlForm, column: string, toUtf8: ToUtf8): string {
  const text = form.postgres(column, toUtf8);
  return form.free
    ? `coalesce(octet_length(${toUtf8(text)})::text || ':' || ${text}, '~') || ','`
    : `coalesce(${text}, '~') || ','`;
}

export function framedClickHouse(form: SqlForm, column: string, nullable: boolean): string {
  const value = nullable ? `assumeNotNull(${column})` : column;
  const text = form.clickhouse(value);
  const framed = form.free ? `concat(toString(length(${text})), ':', ${text}, ',')` : `concat(${text}, ',')`;
  return nullable ? `if(isNull(${column}), '~,', ${framed})` : framed;
}

function hexOf(value: string, digits: number): string {
  return `leftPad(lower(hex(${value})), ${digits}, '0')`;
}
