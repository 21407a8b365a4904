import type { Column, ColumnType } from '../pipeline/relation.js';
import {
  decimalEncoder,
  encodeBool,
  encodeBytea,
  encodeFloat,
  encodeNumberText,
  encodeText,
  encodeUuid,
  integerEncoder,
  type Encoder,
} from './encoders.js';
import { encodeDate, encodeTimestamp, encodeTimestampTz } from './times.js';

/** How one column is kept. */
export interface StoredType {
  /** The ClickHouse type without Nullable: `Decimal(12, 2)`. */
  readonly base: string;
  /** As it stands in the DDL: `Nullable(Decimal(12, 2))`, `LowCardinality(Nullable(String))`. */
  readonly type: string;
  /** Whether ClickHouse can keep a null here; an array or a map never can. */
  readonly nullable: boolean;
  readonly encode: Encoder;
  /** What stands, in a tombstone, for a value that was not sent. */
  readonly blank: Buffer;
}

/** One way to keep a Postgres type. */
export interface Mapping {
  readonly base: string;
  readonly encode: Encoder;
  /** A value of the type, as TabSeparated has it. */
  readonly blank: string;
}

export const TEXT: Mapping = { base: 'String', encode: encodeText, blank: '' };
/** Numbers that no Decimal holds, in Postgres's own digits. */
export const NUMBER_TEXT: Mapping = { base: 'String', encode: encodeNumberText, blank: '' };
export const BYTES: Mapping = { base: 'String', encode: encodeBytea, blank: '' };
/** Few distinct values by nature. */
const LABEL: Mapping = { base: 'LowCardinality(String)', encode: encodeText, blank: '' };

export function integer(base: string, lowest: bigint, highest: bigint): Mapping {
  return { base, encode: integerEncoder(lowest, highest), blank: '0' };
}

export function decimal(precision: number, scale: number): Mapping {
  return { base: `Decimal(${precision}, ${scale})`, encode: decimalEncoder(precision, scale), blank: '0' };
}

const MOMENT = { base: "DateTime64(6, 'UTC')", blank: '1970-01-01 00:00:00' };

/** What is not here, and is no enum and no numeric, is kept as Postgres's own text. */
const MAPPINGS: Readonly<Record<string, Mapping>> = {
  bool: { base: 'Bool', encode: encodeBool, blank: '0' },
  int2: integer('Int16', -(2n ** 15n), 2n ** 15n - 1n),
  int4: integer('Int32', -(2n ** 31n), 2n ** 31n - 1n),
  int8: integer('Int64', -(2n ** 63n), 2n ** 63n - 1n),
  oid: integer('UInt32', 0n, 2n ** 32n - 1n),
  float4: { base: 'Float32', encode: encodeFloat, blank: '0' },
  float8: { base: 'Float64', encode: encodeFloat, blank: '0' },
  date: { base: 'Date32', encode: encodeDate, blank: '1970-01-01' },
  timestamp: { ...MOMENT, encode: encodeTimestamp },
  timestamptz: { ...MOMENT, encode: encodeTimestampTz },
  uuid: { base: 'UUID', encode: encodeUuid, blank: '00000000-0000-0000-0000-000000000000' },
  bytea: BYTES,
};

const NULL_TEXT = Buffer.from('\\N');

/** How the column is kept; `chosen` is what the configuration says instead of the type's own mapping. */
export function storedType(
  column: Pick<Column, 'type' | 'notNull'>,
  chosen: Mapping = mappingOf(column.type),
): StoredType {
  const { base, encode, blank } = chosen;
  const nullable = !column.notNull && !/^(Array|Map)\(/.test(base);
  return {
    base,
    type: nullable ? nullableType(base) : base,
    nullable,
    encode,
    blank: nullable ? NULL_TEXT : Buffer.from(blank),
  };
}

export function mappingOf(type: ColumnType): Mapping {
  if (type.kind === 'enum') return LABEL;
  if (type.kind !== 'base') return TEXT;
  if (type.name === 'numeric') return numericMapping(type.modifier);
  return Object.hasOwn(MAPPINGS, type.name) ? MAPPINGS[type.name]! : TEXT;
}

/** The widest Decimal there is. */
export const DECIMAL_DIGITS_MAX = 76;

/** Precision and scale of a numeric's modifier; null where it has none. */
export function numericDigits(modifier: number): { precision: number; scale: number } | null {
  if (modifier < 4) return null;
  // The scale is eleven bits, signed (Postgres 15 and later).
  return { precision: ((modifier - 4) >> 16) & 0xffff, scale: (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400 };
}

/** Text where no Decimal holds every value: no precision, too many digits, or a scale outside 0..precision. */
function numericMapping(modifier: number): Mapping {
  const digits = numericDigits(modifier);
  if (digits === null) return NUMBER_TEXT;
  const { precision, scale } = digits;
  if (precision > DECIMAL_DIGITS_MAX || scale < 0 || scale > precision) return NUMBER_TEXT;
  return decimal(precision, scale);
}

function nullableType(base: string): string {
  const low = /^LowCardinality\((.*)\)$/.exec(base);
  return low === null ? `Nullable(${base})` : `LowCardinality(Nullable(${low[1]}))`;
}
