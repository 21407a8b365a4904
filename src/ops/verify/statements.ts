import { versionBound } from '../../pipeline/version.js';
import type { Lsn } from '../../pipeline/lsn.js';
import { qualified, quoteName as quoteClickHouse, quoteString } from '../../sink/identifier.js';
import { IS_DELETED, VERSION } from '../../sink/names.js';
import { quoteName as quotePostgres } from '../../source/connection.js';
import type { RetentionEdge } from './retention-edge.js';
import type { ComparedTable } from './compared-table.js';
import { bareType, framedClickHouse, framedPostgres, type ToUtf8 } from './sql-forms.js';

/** Hexadecimal digits of a column's md5 that are read for a row whose bucket differs: enough to name the columns. */
export const COLUMN_DIGITS = 12;

/** A key as a person reads it: its columns' texts, in the order of the key. */
export type KeyTexts = readonly string[];

/**
 * The questions that are asked of both sides. Each row has a text of its key and a text of all its columns, the same on both sides;
 * the first 32 bits of the key's md5 choose its bucket, the first 64 of the row's are added up.
 */
export class Statements {
  readonly #table: ComparedTable;
  readonly #mask: number;
  readonly #edge: RetentionEdge | null;
  readonly #bound: string;
  readonly #toUtf8: ToUtf8;

  constructor(options: {
    readonly table: ComparedTable;
    readonly buckets: number;
    readonly edge: RetentionEdge | null;
    readonly position: Lsn;
    /** The source database's encoding. */
    readonly encoding: string;
  }) {
    this.#table = options.table;
    this.#mask = options.buckets - 1;
    this.#edge = options.edge;
    this.#bound = `toUInt128(${quoteString(String(versionBound(options.position)))})`;
    this.#toUtf8 = options.encoding === 'UTF8' ? (text) => text : (text) => `convert_to(${text}, 'UTF8')`;
  }

  /**
   * Columns: bucket, rows, sum of row hashes. `from` is a table, with `only` where it has children of its own. Where columns are masked, a line
   * for each row instead: bucket, md5 of the other columns, texts of the masked ones.
   */
  postgresSums(from: string, where: string | null): string {
    const masked = this.#maskedTexts();
    const inner = `select ${[`${this.#postgresKey()} as k`, `${this.#postgresRow()} as r`, ...masked.map((text, index) => `${text} as m${index}`)].join(', ')} from ${from} where ${this.#postgresWhere(where)} offset 0`;
    if (masked.length > 0)
      return `select ${[this.#postgresBucket('k'), `md5(${this.#toUtf8('r')})`, ...masked.map((_, index) => `m${index}`)].join(', ')} from (${inner}) texts`;
    const hash = `('x' || left(md5(${this.#toUtf8('r')}), 16))::bit(64)::int8`;
    return `select b, count(*)::text, sum(h)::text from (select ${this.#postgresBucket('k')} as b, ${hash} as h from (${inner}) texts) hashes group by b`;
  }

  /**
   * Columns: md5 of the key, md5 pieces of the columns that are not masked, texts of those that are, the key's texts. With `buckets`, of rows in
   * them alone: `$1`.
   */
  postgresRows(from: string, where: string | null, buckets: boolean): string {
    const pieces = this.#unmasked().map(
      ({ column, form }) =>
        `left(md5(${this.#toUtf8(framedPostgres(form, this.#postgresColumn(column.name), this.#toUtf8))}), ${COLUMN_DIGITS})`,
    );
    const texts = this.#table.key.map(
      (place) => `format('%s', ${this.#postgresColumn(this.#table.checked[place]!.column.name)})`,
    );
    const chosen = buckets ? ` and ${this.#postgresBucket(this.#postgresKey())} = any($1::int8[])` : '';
    return `select md5(${this.#toUtf8(this.#postgresKey())}), concat(${pieces.join(', ')}), ${[...this.#maskedTexts(), ...texts].join(', ')} from ${from} where ${this.#postgresWhere(where)}${chosen}`;
  }

  /** `from` of rows by key; a parameter for each column of the key, a list of texts. */
  postgresByKeys(from: string): { readonly from: string; readonly where: null } {
    const keys = this.#keyColumns();
    const lists = keys.map((_, index) => `$${index + 1}::text[]`).join(', ');
    const names = keys.map((_, index) => `k${index}`).join(', ');
    const equal = keys.map(
      ({ column }, index) => `t.${quotePostgres(column.name)} = wanted.k${index}::${column.type.text}`,
    );
    // A list could name one key twice; texts that differ may mean the same value.
    return {
      from: `(select t.* from unnest(${lists}) wanted(${names}) join ${from} t on ${equal.join(' and ')}) t`,
      where: null,
    };
  }

  /**
   * One statement, so that both parts see one moment of the table. Columns: 0, bucket, rows, sum of hashes, no key; then 1 for each key
   * that has changed since the position, with its version and texts.
   */
  clickHouseSums(changedMax: number): string {
    const { landing } = this.#table;
    const from = qualified(landing.database, landing.table);
    // A name given in a statement hides the column of that name, so none is given that a table could have.
    const hash = 'toInt128(reinterpretAsInt64(reverse(substring(MD5(_walhouse_row), 1, 8))))';
    const inner = `select ${this.#clickHouseKey()} as _walhouse_key, ${this.#clickHouseRow()} as _walhouse_row from ${from} final where ${VERSION} < ${this.#bound} and ${this.#clickHouseLive()}`;
    const sums = `select toUInt8(0) as _walhouse_kind, ${this.#clickHouseBucket('_walhouse_key')} as _walhouse_bucket, toString(count()) as _walhouse_rows, toString(sum(${hash})) as _walhouse_sum, emptyArrayString() as _walhouse_texts from (${inner}) group by _walhouse_bucket`;
    const changed = `select toUInt8(1) as _walhouse_kind, toUInt32(0) as _walhouse_bucket, '' as _walhouse_rows, toString(max(${VERSION})) as _walhouse_sum, ${this.#clickHouseTexts()} as _walhouse_texts from ${from} where ${VERSION} >= ${this.#bound} group by _walhouse_texts limit ${changedMax + 1}`;
    return `${sums} union all ${changed}`;
  }

  /**
   * As one statement: rows as readers see them (0), then keys changed since the position (1). Columns: kind, md5 of the key, md5 pieces
   * of the columns, version, the key's texts. Of some buckets, or of some keys.
   */
  clickHouseRows(chosen: { readonly buckets: readonly number[] } | { readonly keys: readonly KeyTexts[] }): {
    readonly text: string;
    readonly parameters: Readonly<Record<string, string>>;
  } {
    const { landing, checked } = this.#table;
    const from = qualified(landing.database, landing.table);
    const where =
      'buckets' in chosen
        ? `${this.#clickHouseBucket(this.#clickHouseKey())} in (${chosen.buckets.join(', ')})`
        : this.#clickHouseKeysIn();
    const pieces = checked.map(
      ({ column, form, clickHouseType }) =>
        `substring(lower(hex(MD5(${framedClickHouse(form, quoteClickHouse(column.name), isNullable(clickHouseType))}))), 1, ${COLUMN_DIGITS})`,
    );
    const md5 = `lower(hex(MD5(${this.#clickHouseKey()})))`;
    const texts = this.#clickHouseTexts();
    const rows = `select toUInt8(0) as _walhouse_kind, ${md5} as _walhouse_key, concat(${pieces.join(', ')}, '') as _walhouse_columns, toString(${VERSION}) as _walhouse_version, ${texts} as _walhouse_texts from ${from} final where ${this.#clickHouseLive()} and ${where}`;
    const changed = `select toUInt8(1) as _walhouse_kind, ${md5} as _walhouse_key, '' as _walhouse_columns, toString(max(${VERSION})) as _walhouse_version, any(${texts}) as _walhouse_texts from ${from} where ${VERSION} >= ${this.#bound} and ${where} group by _walhouse_key`;
    const keys = 'keys' in chosen ? chosen.keys : [];
    return {
      text: `${rows} union all ${changed}`,
      parameters: keys.length === 0 ? {} : { keys: keys.map((texts) => JSON.stringify(texts)).join('\n') },
    };
  }

  #keyColumns() {
    return this.#table.key.map((place) => this.#table.checked[place]!);
  }

  #unmasked() {
    return this.#table.checked.filter(({ masked }) => !masked);
  }

  /** What Postgres prints of the masked columns, for them to be hashed here. */
  #maskedTexts(): string[] {
    return this.#table.checked
      .filter(({ masked }) => masked)
      .map(({ column, form }) => form.postgres(this.#postgresColumn(column.name), this.#toUtf8));
  }

  #postgresColumn(name: string): string {
    return `t.${quotePostgres(name)}`;
  }

  #postgresKey(): string {
    return joined(
      this.#keyColumns().map(({ column, form }) =>
        framedPostgres(form, this.#postgresColumn(column.name), this.#toUtf8),
      ),
      ' || ',
    );
  }

  #postgresRow(): string {
    return joined(
      this.#unmasked().map(({ column, form }) =>
        framedPostgres(form, this.#postgresColumn(column.name), this.#toUtf8),
      ),
      ' || ',
    );
  }

  #postgresBucket(key: string): string {
    return `(('x' || left(md5(${this.#toUtf8(key)}), 8))::bit(32)::int8 & ${this.#mask})`;
  }

  #postgresWhere(where: string | null): string {
    const chosen = this.#table.relation.selection?.where ?? null;
    const parts = [where, chosen].flatMap((part) => (part === null ? [] : [`(${part})`]));
    if (this.#edge !== null)
      parts.push(this.#edge.postgresCondition(this.#postgresColumn(this.#edge.column)));
    return parts.length === 0 ? 'true' : parts.join(' and ');
  }

  #clickHouseKey(): string {
    return this.#clickHouseJoined(this.#table.key);
  }

  #clickHouseRow(): string {
    const places = this.#table.checked.map((_, place) => place);
    const isMasked = (place: number): boolean => this.#table.checked[place]!.masked;
    const masked = places.filter(isMasked);
    const unmasked = this.#clickHouseJoined(places.filter((place) => !isMasked(place)));
    return masked.length === 0
      ? unmasked
      : `concat(lower(hex(MD5(${unmasked}))), ${this.#clickHouseJoined(masked)})`;
  }

  #clickHouseJoined(places: readonly number[]): string {
    const parts = places.map((place) => {
      const { column, form, clickHouseType } = this.#table.checked[place]!;
      return framedClickHouse(form, quoteClickHouse(column.name), isNullable(clickHouseType));
    });
    return parts.length === 1 ? parts[0]! : `concat(${parts.join(', ')})`;
  }

  #clickHouseBucket(key: string): string {
    return `bitAnd(reinterpretAsUInt32(reverse(substring(MD5(${key}), 1, 4))), toUInt32(${this.#mask}))`;
  }

  /** Landing without what readers never see: deleted rows, and rows past retention by the one moment that both sides are given. */
  #clickHouseLive(): string {
    const parts = [`${IS_DELETED} = 0`];
    if (this.#edge !== null) parts.push(this.#edge.clickHouseCondition(quoteClickHouse(this.#edge.column)));
    return parts.join(' and ');
  }

  /** The key's columns as texts that Postgres reads as the same values. */
  #clickHouseTexts(): string {
    const texts = this.#keyColumns().map(({ column, clickHouseType }) => {
      const value = isNullable(clickHouseType)
        ? `assumeNotNull(${quoteClickHouse(column.name)})`
        : quoteClickHouse(column.name);
      return column.type.name === 'bytea' ? `concat('\\\\x', lower(hex(${value})))` : `toString(${value})`;
    });
    return `[${texts.join(', ')}]`;
  }

  /** By parameter, since ClickHouse logs the text of statements. */
  #clickHouseKeysIn(): string {
    const columns = this.#keyColumns();
    const structure = columns.map((_, index) => `k${index} String`).join(', ');
    const values = columns.map(({ column, clickHouseType }, index) => {
      if (column.type.name === 'bytea') return `unhex(substring(k${index}, 3))`;
      const type = bareType(clickHouseType);
      return type.name === 'String' ? `k${index}` : `cast(k${index} as ${type.text})`;
    });
    const names = columns.map(({ column }) => quoteClickHouse(column.name));
    return `(${names.join(', ')}) in (select ${values.join(', ')} from format(JSONCompactEachRow, ${quoteString(structure)}, {keys:String}))`;
  }
}

function isNullable(type: string): boolean {
  return /^(LowCardinality\()?Nullable\(/.test(type);
}

function joined(parts: readonly string[], by: string): string {
  return parts.length === 1 ? parts[0]! : parts.join(by);
}
