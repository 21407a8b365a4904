import type { ClickHouseClient } from '@clickhouse/client';
import type { ClientBase } from 'pg';
import pg from 'pg';

import type { Log } from '../../pipeline/log.js';
import { silentLog } from '../../pipeline/log.js';
import type { MaskedColumns } from '../../sink/mask.js';
import { canonicalFor, maskedWith } from './canonical.js';
import { Differences, type KeyTexts } from './differences.js';
import type { ComparedRelation } from './relation.js';
import { type ComparedRetention, takeRetentionCut } from './retention-cut.js';
import {
  type CanonicalRows,
  type ComparedColumn,
  type ComparedView,
  describeView,
  pinSession,
  readClickHouse,
  readPostgres,
} from './sides.js';
import { bucketOf, type CanonicalRow, joinFields, Tally } from './tally.js';

export interface CompareOptions {
  /** A pool, or a client that is in no transaction. */
  readonly postgres: pg.Pool | ClientBase;
  readonly clickhouse: ClickHouseClient;
  readonly relation: ComparedRelation;
  readonly view: ComparedView;
  readonly retention?: ComparedRetention | undefined;
  /** Columns that are masked on the way. */
  readonly masked?: MaskedColumns | undefined;
  /** Keys (Postgres's texts, in the order of the key) of rows that are known to be quarantined: counted apart when they are missing. */
  readonly quarantined?: Iterable<KeyTexts> | undefined;
  readonly log?: Log | undefined;
}

export interface TableComparison {
  /** `schema.name`. */
  readonly table: string;
  readonly equal: boolean;
  readonly rowsPostgres: number;
  readonly rowsClickhouse: number;
  /** Rows of Postgres that ClickHouse does not show. */
  readonly missing: number;
  /** Rows that ClickHouse shows and Postgres does not have, a second row of one key among them. */
  readonly extra: number;
  readonly different: number;
  /** Rows that are missing because they are known to be quarantined. */
  readonly quarantined: number;
  /** How many of the different rows differ in which column. */
  readonly differentColumns: Readonly<Record<string, number>>;
  /** Columns that one side alone has. */
  readonly columns: { readonly missing: readonly string[]; readonly extra: readonly string[] };
  /** Some of the keys, never values of other columns. */
  readonly samples: Readonly<Record<'missing' | 'extra' | 'different', readonly KeyTexts[]>>;
  /** False when so much differs that counting was given up: the counts are then the least there is. */
  readonly complete: boolean;
}

/** Rows of either side held at once while the differences are looked for. */
const ROWS_HELD_MAX = 200_000;
/** How often both sides are read again for that. */
const PASSES_MAX = 5;
/** How long a comparison may take before the rows that expire meanwhile would count; then it is done again with more. */
const RETENTION_MARGINS_SECONDS = [60, 600, 3_600];

/**
 * Compares a table with what an analyst reads of it in ClickHouse, value for value, whatever the types and the key.
 *
 * Both sides must stand still at the same position. One pass over each side adds up digests by key, which is all there is to do when they are
 * equal; where sums differ, those rows are read again and set against each other. Memory is bounded, nothing is
 * sorted, and the order of rows does not matter. Postgres is read in one read-only snapshot.
 */
export async function compareTable(options: CompareOptions): Promise<TableComparison> {
  const { postgres } = options;
  if (!(postgres instanceof pg.Pool)) return compareInSnapshot(postgres, options);
  const client = await postgres.connect();
  // The query in hand rejects as well; the event, unhandled, would end the process.
  const ignore = (): void => undefined;
  client.on('error', ignore);
  try {
    const result = await compareInSnapshot(client, options);
    client.release();
    return result;
  } catch (error) {
    // A COPY that was left half read cannot be taken back: the connection goes.
    client.release(true);
    throw error;
  } finally {
    client.removeListener('error', ignore);
  }
}

async function compareInSnapshot(client: ClientBase, options: CompareOptions): Promise<TableComparison> {
  await client.query('begin transaction isolation level repeatable read, read only');
  try {
    await pinSession(client);
    const margins = options.retention === undefined ? [0] : RETENTION_MARGINS_SECONDS;
    for (const margin of margins) {
      const result = await compareOnce(client, options, margin);
      if (result !== null) return result;
    }
    throw new Error(`comparing ${options.relation.name} took longer than an hour`);
  } finally {
    await client.query('rollback').catch(() => undefined);
  }
}

async function compareOnce(
  client: ClientBase,
  options: CompareOptions,
  marginSeconds: number,
): Promise<TableComparison | null> {
  const { clickhouse, relation, view, retention, log = silentLog } = options;
  const types = await describeView(clickhouse, view);
  const columns = sharedColumns(relation, types, options.masked);
  const cut =
    retention === undefined ? null : await takeRetentionCut(client, clickhouse, retention, marginSeconds);
  const sides: Sides = {
    key: keyPlaces(relation, columns),
    postgres: () => readPostgres(client, relation, columns, cut),
    clickHouse: () => readClickHouse(clickhouse, view, columns, cut),
  };

  const { tally, rowsPostgres, rowsClickhouse } = await tallyBoth(sides);
  const groups = tally.differing(ROWS_HELD_MAX);
  const differences = new Differences(quarantinedKeys(options.quarantined ?? [], columns, sides.key));
  for (const buckets of groups.slice(0, PASSES_MAX)) await setAgainst(sides, buckets, differences);
  if (await cut?.isOutrun()) {
    log.warn(
      { table: relation.name, marginSeconds },
      'rows expired while they were compared; comparing again',
    );
    return null;
  }

  const known = new Set(relation.columns.map((column) => column.name));
  const absent = relation.columns.map((column) => column.name).filter((name) => !types.has(name));
  const surplus = [...types.keys()].filter((name) => !known.has(name));
  const { missing, extra, different, quarantined, samples } = differences;
  return {
    table: `${relation.schema}.${relation.name}`,
    equal: missing + extra + different + absent.length + surplus.length === 0 && groups.length <= PASSES_MAX,
    rowsPostgres,
    rowsClickhouse,
    missing,
    extra,
    different,
    quarantined,
    differentColumns: Object.fromEntries(
      [...differences.differentColumns].map(([place, count]) => [columns[place]?.name ?? '', count]),
    ),
    columns: { missing: absent, extra: surplus },
    samples,
    complete: groups.length <= PASSES_MAX,
  };
}

interface Sides {
  /** Indexes of the key's columns among those compared. */
  readonly key: readonly number[];
  postgres(): CanonicalRows;
  clickHouse(): CanonicalRows;
}

async function tallyBoth(
  sides: Sides,
): Promise<{ tally: Tally; rowsPostgres: number; rowsClickhouse: number }> {
  const tally = new Tally();
  let rowsPostgres = 0;
  let rowsClickhouse = 0;
  for await (const rows of sides.postgres()) {
    rowsPostgres += rows.length;
    for (const fields of rows) tally.addPostgres({ key: keyOf(fields, sides.key), fields });
  }
  for await (const rows of sides.clickHouse()) {
    rowsClickhouse += rows.length;
    for (const fields of rows) tally.addClickHouse({ key: keyOf(fields, sides.key), fields });
  }
  return { tally, rowsPostgres, rowsClickhouse };
}

async function setAgainst(
  sides: Sides,
  buckets: ReadonlySet<number>,
  differences: Differences,
): Promise<void> {
  const read = async (
    side: CanonicalRows,
    add: (row: CanonicalRow, keyTexts: KeyTexts) => void,
  ): Promise<void> => {
    for await (const rows of side) {
      for (const fields of rows) {
        const key = keyOf(fields, sides.key);
        if (buckets.has(bucketOf(key))) add({ key, fields }, keyTextsOf(fields, sides.key));
      }
    }
  };
  await read(sides.postgres(), (row, texts) => differences.addPostgres(row, texts));
  await read(sides.clickHouse(), (row, texts) => differences.addClickHouse(row, texts));
  differences.settle();
}

function sharedColumns(
  relation: ComparedRelation,
  types: ReadonlyMap<string, string>,
  masked: MaskedColumns | undefined,
): ComparedColumn[] {
  return relation.columns.flatMap(({ name, type }) => {
    const clickHouseType = types.get(name);
    if (clickHouseType === undefined) return [];
    const isMasked = masked?.names.includes(name) === true;
    return [{ name, canonical: isMasked ? maskedWith(masked.masker) : canonicalFor(type, clickHouseType) }];
  });
}

function keyPlaces(relation: ComparedRelation, columns: readonly ComparedColumn[]): number[] {
  const places = relation.key
    .map((index) => columns.findIndex((column) => column.name === relation.columns[index]?.name))
    .filter((place) => place >= 0);
  return places.length > 0 ? places : columns.map((_, index) => index);
}

function keyOf(fields: readonly (string | null)[], places: readonly number[]): string {
  return joinFields(places.map((place) => fields[place] ?? null));
}

/** Canonical texts are binary strings; people read UTF-8. */
function keyTextsOf(fields: readonly (string | null)[], places: readonly number[]): KeyTexts {
  return places.map((place) => {
    const text = fields[place] ?? null;
    return text === null ? null : Buffer.from(text, 'latin1').toString('utf8');
  });
}

function quarantinedKeys(
  keys: Iterable<KeyTexts>,
  columns: readonly ComparedColumn[],
  places: readonly number[],
): Set<string> {
  const canonical = new Set<string>();
  for (const texts of keys) {
    const fields = texts.map((text, index) => {
      if (text === null) return null;
      const column = columns[places[index] ?? -1];
      const binary = Buffer.from(text, 'utf8').toString('latin1');
      return column === undefined ? binary : column.canonical.fromPostgres(binary);
    });
    canonical.add(joinFields(fields));
  }
  return canonical;
}
