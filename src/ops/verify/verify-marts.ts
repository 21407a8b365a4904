import type { ClickHouseClient } from '@clickhouse/client';
import type { Lsn } from '../../pipeline/lsn.js';
import { versionBound } from '../../pipeline/version.js';
import { qualified, quoteName, quoteString } from '../../sink/identifier.js';
import { VERSION } from '../../sink/names.js';
import { askClickHouse } from './sides.js';

export interface MartReport {
  /** The materialized view that feeds it. */
  readonly feed: string;
  /** The table that people query. */
  readonly mart: string;
  /** `unchecked`: its rows bear no version, so what is on its way cannot be told from what is missing. */
  readonly verdict: 'equal' | 'different' | 'unchecked';
  /** Versions of rows that landing holds and the mart keeps. */
  readonly rows: number;
  /** Those that the mart does not have as landing has them. */
  readonly missing: number;
}

interface Feed {
  readonly name: string;
  readonly target: string;
  readonly select: string;
}

/**
 * Looks, inside ClickHouse, whether every version in landing has gone through each materialized view into its mart, tombstones
 * included: a lost tombstone would bring a row back. Up to a position that is applied, since a batch on its way
 * reaches landing before its marts. What a mart has besides is not looked for: it keeps versions that landing has merged away.
 */
export async function verifyMarts(
  client: ClickHouseClient,
  database: string,
  position: Lsn,
): Promise<MartReport[]> {
  const reports: MartReport[] = [];
  for (const feed of await feedsOf(client, database)) {
    let report = await verifyMart(client, database, feed, position);
    // A row at the very edge of what the mart keeps may have expired between the two reads; it does so once.
    if (report.verdict === 'different') report = await verifyMart(client, database, feed, position);
    reports.push(report);
  }
  return reports;
}

async function feedsOf(client: ClickHouseClient, database: string): Promise<Feed[]> {
  const views = await askClickHouse<{ name: string; select: string; definition: string }>(
    client,
    `select name, as_select as select, create_table_query as definition from system.tables
      where database = {database:String} and engine = 'MaterializedView' order by name`,
    { database },
  );
  return views.flatMap(({ name, select, definition }) => {
    const target = /^CREATE MATERIALIZED VIEW \S+ TO \S+?\.`?([^`\s(]+)`?[\s(]/.exec(definition)?.[1];
    return target === undefined ? [] : [{ name, target, select }];
  });
}

async function verifyMart(
  client: ClickHouseClient,
  database: string,
  feed: Feed,
  position: Lsn,
): Promise<MartReport> {
  const { name, target, select } = feed;
  // What the view does not name gets the table's default, and is not the view's to answer for.
  const columns = await askClickHouse<{ name: string; type: string }>(
    client,
    `select name, type from system.columns where database = {database:String} and table = {target:String}
        and name in (select name from system.columns where database = {database:String} and table = {feed:String})
      order by name`,
    { database, target, feed: name },
  );
  if (!columns.some((column) => column.name === VERSION)) {
    return { feed: name, mart: target, verdict: 'unchecked', rows: 0, missing: 0 };
  }
  const values = columns.map((column) => `cast(${quoteName(column.name)} as ${column.type})`);
  const hash = `sipHash128(tuple(${values.join(', ')}))`;
  const [found] = await askClickHouse<{ rows: string; missing: string }>(
    client,
    `select toString(count()) as rows,
            toString(countIf(h not in (select ${hash} from ${qualified(database, target)}))) as missing
       from (select ${hash} as h from (${select}) where ${VERSION} < toUInt128(${quoteString(String(versionBound(position)))}))`,
  );
  const missing = Number(found!.missing);
  return {
    feed: name,
    mart: target,
    verdict: missing === 0 ? 'equal' : 'different',
    rows: Number(found!.rows),
    missing,
  };
}
