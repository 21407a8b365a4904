import type { Column, ColumnType } from '../pipeline/relation.js';
import {
  decimalEncoder,
  encodeBool,
  encodeBytea,
  encodeFloat,
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
  readonly nullable: boolean;
  readonly encode: Encoder;
  /** What stands, in a tombstone, for a value that was not sent. */
  readonly blank: Buffer;
}

interface Mapping {
  readonly base: string;
  readonly encode: Encoder;
  readonly blank: string;
}

const TEXT: Mapping = { base: 'String', encode: encodeText, blank: '' };
/** Few distinct values by nature. */
const LABEL: Mapping = { base: 'LowCardinality(String)', encode: encodeText, blank: '' };

function integer(base: string, lowest: bigint, highest: bigint): Mapping {
  return { base, encode: integerEncoder(lowest, highest), blank: '0' };
}

const MOMENT = { base: "DateTime64(6, 'UTC')", blank: '1970-01-01 00:00:00' };

/**
 * One row per Postgres type. What is not here (arrays, ranges, interval, inet, time, money, bit, hstore, composites, extension types)
 * is kept as Postgres's own text.
 */
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
  bytea: { base: 'String', encode: encodeBytea, blank: '' },
};

const NULL_TEXT = Buffer.from('\\N');

export function storedType(column: Pick<Column, 'type' | 'notNull'>): StoredType {
  const { base, encode, blank } = mappingOf(column.type);
  const nullable = !column.notNull;
  return {
    base,
    type: nullable ? nullableType(base) : base,
    nullable,
    encode,
    blank: nullable ? NULL_TEXT : Buffer.from(blank),
  };
}

function mappingOf(type: ColumnType): Mapping {
  if (type.kind === 'enum') return LABEL;
  if (type.kind !== 'base') return TEXT;
  if (type.name === 'numeric') return numericMapping(type.modifier);
  return Object.hasOwn(MAPPINGS, type.name) ? MAPPINGS[type.name]! : TEXT;
}

/** The widest Decimal there is. */
const DECIMAL_DIGITS_MAX = 76;

/** Text where no Decimal holds every value: no precision, too many digits, or a scale outside 0..precision. */
function numericMapping(modifier: number): Mapping {
  if (modifier < 4) return TEXT;
  const precision = ((modifier - 4) >> 16) & 0xffff;
  // Eleven bits, signed (Postgres 15 and later).
  const scale = (((modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
  if (precision > DECIMAL_DIGITS_MAX || scale < 0 || scale > precision) return TEXT;
  return { base: `Decimal(${precision}, ${scale})`, encode: decimalEncoder(precision, scale), blank: '0' };
}

function nullableType(base: string): string {
  const low = /^LowCardinality\((.*)\)$/.exec(base);
  return low === null ? `Nullable(${base})` : `LowCardinality(Nullable(${low[1]}))`;
}
