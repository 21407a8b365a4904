import { WalhouseError } from '../pipeline/errors.js';
import type { ColumnType } from '../pipeline/relation.js';
import { arrayMapping } from './array-encoder.js';
import { encodeIpv4, encodeIpv6 } from './encoders.js';
import { HSTORE_MAP } from './hstore-encoder.js';
import { encodeShortDate, timestampEncoder } from './times.js';
import {
  BYTES,
  decimal,
  DECIMAL_DIGITS_MAX,
  integer,
  mappingOf,
  NUMBER_TEXT,
  numericDigits,
  TEXT,
  type Mapping,
} from './types.js';

const INTEGERS = new Set(['int2', 'int4', 'int8', 'oid']);
const NUMBERS = new Set([...INTEGERS, 'numeric', 'float4', 'float8']);
const MOMENTS = new Set(['timestamp', 'timestamptz']);

/** One kind of ClickHouse type that a user may choose: which source types it is for, and how it is written. */
interface Choice {
  /** As messages and documents show it. */
  readonly text: string;
  readonly fits: (type: ColumnType) => boolean;
  /** Null where `wanted` is no type of this kind. */
  readonly parse: (wanted: string, type: ColumnType) => Mapping | null;
}

const ANY = (): boolean => true;
const named =
  (...names: string[]) =>
  ({ name, kind }: ColumnType): boolean =>
    kind === 'base' && names.includes(name);

/** A ClickHouse type of which nothing but the name can be written. */
function fixed(text: string, fits: Choice['fits'], mapping: (type: ColumnType) => Mapping): Choice {
  return { text, fits, parse: (wanted, type) => (wanted === text ? mapping(type) : null) };
}

/** Whole numbers alone: integers, and numeric without a scale. */
function isWhole({ name, kind, modifier }: ColumnType): boolean {
  if (kind !== 'base') return false;
  if (INTEGERS.has(name)) return true;
  return name === 'numeric' && (numericDigits(modifier)?.scale ?? 0) <= 0;
}

function isDecimal({ name, kind }: ColumnType): boolean {
  return kind === 'base' && (INTEGERS.has(name) || name === 'numeric');
}

/** In whatever schema its extension was made. */
function isHstore({ name, kind }: ColumnType): boolean {
  return kind === 'base' && name.endsWith('.hstore');
}

/** A box's array has semicolons between its elements, and commas inside of them. */
function isArray({ kind, element }: ColumnType): boolean {
  return kind === 'array' && element?.name !== 'box';
}

export const CHOICES: readonly Choice[] = [
  fixed('String', ANY, textMapping),
  fixed('LowCardinality(String)', ANY, (type) => ({ ...textMapping(type), base: 'LowCardinality(String)' })),
  { text: 'Int8 to Int256, UInt8 to UInt256', fits: isWhole, parse: parseInteger },
  { text: 'Decimal(precision, scale)', fits: isDecimal, parse: parseDecimal },
  fixed('Float32', named('float4'), mappingOf),
  fixed('Float64', named('float8'), mappingOf),
  fixed('Bool', named('bool'), mappingOf),
  fixed('UInt8', named('bool'), (type) => ({ ...mappingOf(type), base: 'UInt8' })),
  fixed('Date32', named('date'), mappingOf),
  fixed('Date', named('date'), () => ({ base: 'Date', encode: encodeShortDate, blank: '1970-01-01' })),
  { text: "DateTime64(0 to 6, 'UTC')", fits: named('timestamp', 'timestamptz'), parse: parseMoment },
  fixed('UUID', named('uuid'), mappingOf),
  fixed('IPv4', named('inet'), () => ({ base: 'IPv4', encode: encodeIpv4, blank: '0.0.0.0' })),
  fixed('IPv6', named('inet'), () => ({ base: 'IPv6', encode: encodeIpv6, blank: '::' })),
  fixed(HSTORE_MAP.base, isHstore, () => HSTORE_MAP),
  { text: 'Array(type), Array(Nullable(type))', fits: isArray, parse: parseArray },
];

/** What a column of this type may be kept as, besides its own mapping. */
export function possibleTypes(type: ColumnType): string[] {
  return CHOICES.filter(({ fits }) => fits(type)).map(({ text }) => text);
}

/** The mapping that a ClickHouse type's name stands for, for a column of this type; null where the two do not go together. */
export function chosenMapping(type: ColumnType, wanted: string): Mapping | null {
  const written = wanted.trim().replace(/\s*,\s*/g, ', ');
  for (const { fits, parse } of CHOICES) {
    const mapping = fits(type) ? parse(written, type) : null;
    if (mapping !== null) return mapping;
  }
  return null;
}

/** As `chosenMapping`; throws `config_invalid` with what is possible. */
export function requireMapping(table: string, column: string, type: ColumnType, wanted: string): Mapping {
  const mapping = chosenMapping(type, wanted);
  if (mapping !== null) return mapping;
  const nullable = /^(Nullable|LowCardinality\(Nullable)\(/.test(wanted.trim());
  throw new WalhouseError('config_invalid', {
    what: `tables.${table}.columns.${column}.type is "${wanted}", which does not hold ${type.text}.`,
    why: nullable
      ? 'Whether a column may be null follows from the source; the type is written without Nullable.'
      : 'Its values could not all arrive exactly.',
    fix: `leave it out for ${mappingOf(type).base}, or write one of: ${possibleTypes(type).join('; ')}`,
  });
}

/** Postgres's own text; a bytea's are its bytes. */
function textMapping(type: ColumnType): Mapping {
  if (type.kind !== 'base') return TEXT;
  if (type.name === 'bytea') return BYTES;
  return NUMBERS.has(type.name) ? NUMBER_TEXT : TEXT;
}

function parseInteger(wanted: string): Mapping | null {
  const match = /^(U?)Int(8|16|32|64|128|256)$/.exec(wanted);
  if (match === null) return null;
  const bits = BigInt(match[2]!);
  return match[1] === 'U'
    ? integer(wanted, 0n, 2n ** bits - 1n)
    : integer(wanted, -(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n);
}

function parseDecimal(wanted: string): Mapping | null {
  const match = /^Decimal\((\d{1,2}), (\d{1,2})\)$/.exec(wanted);
  if (match === null) return null;
  const [precision, scale] = [Number(match[1]), Number(match[2])];
  return precision < 1 || precision > DECIMAL_DIGITS_MAX || scale > precision
    ? null
    : decimal(precision, scale);
}

function parseMoment(wanted: string, type: ColumnType): Mapping | null {
  const match = /^DateTime64\(([0-6]), 'UTC'\)$/.exec(wanted);
  if (match === null || !MOMENTS.has(type.name)) return null;
  const encode = timestampEncoder(Number(match[1]), type.name === 'timestamptz');
  return { base: wanted, encode, blank: '1970-01-01 00:00:00' };
}

function parseArray(wanted: string, type: ColumnType): Mapping | null {
  const inner = /^Array\((.*)\)$/.exec(wanted)?.[1];
  if (inner === undefined) return null;
  // Further dimensions are no other type to Postgres.
  const nested = parseArray(inner, type);
  if (nested !== null) return arrayMapping(wanted, { nested });
  const nullable = /^Nullable\((.*)\)$/.exec(inner)?.[1];
  const element = chosenMapping(type.element!, nullable ?? inner);
  if (element === null || (nullable !== undefined && element.base.startsWith('LowCardinality'))) return null;
  return arrayMapping(wanted, { element, nullable: nullable !== undefined });
}
