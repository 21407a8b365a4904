import type { Masker } from '../../sink/mask.js';
import { mapLeaves, parseArrayLiteral, parseJsonList } from './arrays.js';

/**
 * How one value is brought to the same text from both sides. Nothing here knows how rows are written to ClickHouse:
 * it starts from what each server prints, so that it can find the writer's mistakes.
 *
 * Texts are "binary" strings, one character a byte, so that two different byte sequences never become one.
 */
export interface Canonical {
  /** The ClickHouse expression that prints the value, given an expression for it. */
  readonly select: (value: string) => string;
  readonly fromClickHouse: (text: string) => string;
  /** From what Postgres's output function prints under the pinned session settings. */
  readonly fromPostgres: (text: string) => string;
}

/** The part of the catalog's column type that decides how values are compared. */
export interface ComparedType {
  /** `pg_type.typname` for types of pg_catalog; anything else for others. */
  readonly name: string;
  readonly element?: ComparedType;
}

/** Chooses the canonical text of a column by its ClickHouse type; what it does not know is compared as it is printed. */
export function canonicalFor(postgres: ComparedType, clickHouseType: string): Canonical {
  const { name, argument } = splitType(clickHouseType);
  if (name === 'Array' && postgres.element !== undefined) return arrayOf(postgres.element, argument);
  if (name === 'Map' && postgres.name.endsWith('hstore')) return hstore;
  if (name === 'Bool') return { ...printed, fromPostgres: boolFromPostgres };
  if (name === 'UInt8' && postgres.name === 'bool')
    return { ...printed, fromPostgres: (text) => (text === 't' ? '1' : '0') };
  if (name === 'Float32') return float(32);
  if (name === 'Float64') return float(64);
  if (name === 'DateTime64' || name === 'DateTime') return instant;
  if (/^(Decimal|U?Int)/.test(name)) return decimal;
  if (postgres.name === 'bytea' && (name === 'String' || name === 'FixedString')) return bytes;
  if (name === 'String') return verbatim;
  return printed;
}

/** `LowCardinality(Nullable(String))` is a String to whoever reads it. */
function splitType(type: string): { name: string; argument: string } {
  const match = /^(\w+)(?:\((.*)\))?$/s.exec(type.trim());
  const name = match?.[1] ?? type;
  const argument = match?.[2] ?? '';
  return name === 'LowCardinality' || name === 'Nullable' ? splitType(argument) : { name, argument };
}

function same(text: string): string {
  return text;
}

const verbatim: Canonical = { select: same, fromClickHouse: same, fromPostgres: same };

/** Of a masked column: what Postgres prints goes through the mask here, ClickHouse has what came out of it. */
export function maskedWith(masker: Masker): Canonical {
  return { ...verbatim, fromPostgres: (text) => masker.hash(Buffer.from(text, 'latin1')) };
}

const printed: Canonical = { ...verbatim, select: (value) => `toString(${value})` };

function boolFromPostgres(text: string): string {
  return text === 't' ? 'true' : text === 'f' ? 'false' : text;
}

/** Equal when the number is: `120.50` and `120.5`, since ClickHouse prints a Decimal without trailing zeros. */
const decimal: Canonical = { ...printed, fromClickHouse: plainDecimal, fromPostgres: plainDecimal };

function plainDecimal(text: string): string {
  const plain = text.includes('.') ? text.replace(/\.?0+$/, '') : text;
  return plain === '-0' ? '0' : plain;
}

/** `2026-11-21 09:00:00.5` in UTC. A value that is no such instant (infinity, BC) stays as it is, and so equals nothing. */
const instant: Canonical = {
  select: (value) => `toString(${value}, 'UTC')`,
  fromClickHouse: shortFraction,
  fromPostgres: (text) => shortFraction(text.endsWith('+00') ? text.slice(0, -3) : text),
};

function shortFraction(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** A list of keys and values, in the order of the keys: hstore's own is by length. */
const hstore: Canonical = {
  select: (value) =>
    `toJSONString(arraySort(arrayMap((k, v) -> (k, v), mapKeys(${value}), mapValues(${value}))))`,
  fromClickHouse: (text) => JSON.stringify(parseJsonList(text)),
  fromPostgres: (text) => {
    const pairs = [...text.matchAll(/"((?:[^"\\]|\\[^])*)"=>(?:NULL|"((?:[^"\\]|\\[^])*)")(?:, |$)/g)];
    const plain = (quoted: string | undefined): string | null => quoted?.replace(/\\([^])/g, '$1') ?? null;
    const list = pairs.map(([, key, value]) => [plain(key)!, plain(value)] as const);
    return JSON.stringify([...list].sort(([a], [b]) => (a < b ? -1 : 1)));
  },
};

const bytes: Canonical = {
  select: (value) => `lower(hex(${value}))`,
  fromClickHouse: same,
  fromPostgres: (text) => (text.startsWith('\\x') ? text.slice(2) : text),
};

/** Compared by bits, so that -0 is not 0 and the last place counts; every NaN is the same one. */
function float(width: 32 | 64): Canonical {
  return {
    select: (value) => `if(isNaN(${value}), 'NaN', toString(reinterpretAsUInt${width}(${value})))`,
    fromClickHouse: same,
    fromPostgres: (text) => (text === 'NaN' ? text : floatBits(text, width)),
  };
}

const floatView = new DataView(new ArrayBuffer(8));

/** The bits of the number that Postgres printed (its shortest text that gives the value back), as a decimal. */
function floatBits(text: string, width: 32 | 64): string {
  const value = Number(text);
  if (width === 32) {
    floatView.setFloat32(0, value);
    return String(floatView.getUint32(0));
  }
  floatView.setFloat64(0, value);
  return String(floatView.getBigUint64(0));
}

/** Element by element, each in its own canonical text; written as JSON so that null, 'null' and nesting stay apart. */
function arrayOf(element: ComparedType, clickHouseElement: string): Canonical {
  let depth = 1;
  let leafType = clickHouseElement;
  for (let inner = splitType(leafType); inner.name === 'Array'; inner = splitType(leafType)) {
    depth++;
    leafType = inner.argument;
  }
  const leaf = canonicalFor(element, leafType);
  const list = (value: string, level: number): string => {
    if (level > depth) return leaf.select(value);
    return `arrayMap(x${level} -> ${list(`x${level}`, level + 1)}, ${value})`;
  };
  return {
    select: (value) => `toJSONString(${list(value, 1)})`,
    fromClickHouse: (text) => JSON.stringify(mapLeaves(parseJsonList(text), leaf.fromClickHouse)),
    fromPostgres: (text) => {
      const array = parseArrayLiteral(text);
      return array === null ? text : JSON.stringify(mapLeaves(array, leaf.fromPostgres));
    },
  };
}
