import { DURABLE } from './durability.js';
import { quoteName, quoteString } from './identifier.js';
import { COMMITTED_AT, IS_DELETED, SYNCED_AT, VERSION } from './names.js';
import type { TablePlan } from './plan.js';
import { isKept, partitionBy, TTL_SETTINGS, ttlOf } from './retention.js';

/** Whoever may read the view reads through it what we may; so nobody else needs a right on landing. */
export const AS_OWNER = 'sql security definer';

/**
 * The landing table: one row per source key and version, current or tombstone.
 *
 * The retention column stands in the sort key after the source key, so that every chain of versions has one date and expires as
 * one.
 */
export function landingTable(plan: TablePlan, constraints: readonly string[] = []): string {
  const { relation } = plan;
  const definitions = plan.columns.map(
    ({ name, stored }, index) =>
      `${quoteName(name)} ${stored.type}${comment(relation.columns[index]!.comment)}`,
  );
  definitions.push(
    `${VERSION} UInt128 comment 'Commit position times 10^12 plus the step inside the transaction'`,
    `${IS_DELETED} UInt8 comment '1: this row hides every older version under its sort key'`,
    `${COMMITTED_AT} DateTime64(6, 'UTC') comment 'When Postgres committed the change'`,
    `${SYNCED_AT} DateTime64(6, 'UTC') default now64(6, 'UTC') comment 'When ClickHouse stored the row'`,
    ...constraints,
  );
  return [
    `create table ${plan.landing} (`,
    definitions.map((line) => `  ${line}`).join(',\n'),
    `) ${landingFrame(plan)}`,
    `comment ${quoteString(relation.comment ?? `Versions of the rows of ${relation.id}`)}`,
  ].join('\n');
}

/** What stands behind the columns. */
export function landingFrame({ relation, retention }: TablePlan): string {
  const key = relation.key.map((index) => quoteName(relation.columns[index]!.name));
  const sort = [...key];
  if (retention !== null && !sort.includes(quoteName(retention.column)))
    sort.push(quoteName(retention.column));
  return [
    `engine = ReplacingMergeTree(${VERSION}, ${IS_DELETED})`,
    ...(retention === null ? [] : [`partition by ${partitionBy(retention)}`]),
    `primary key (${key.join(', ')})`,
    `order by (${sort.join(', ')})`,
    ...(retention === null ? [] : [`ttl ${ttlOf(retention)}`]),
    `settings allow_nullable_key = 1, ${DURABLE}${retention === null ? '' : `, ${TTL_SETTINGS}`}`,
  ].join('\n');
}

/**
 * What people query: the source's columns, current rows, inside their retention. A row without a date stays.
 *
 * The condition on tombstones stands outside FINAL's reach (they are conditions on the merged row), and so does retention's:
 * all versions of a chain share one date.
 */
export function tableView(plan: TablePlan): string {
  const { relation, retention } = plan;
  const columns = plan.columns.map(
    ({ name, stored }, index) =>
      `${quoteName(name)} ${stored.type}${comment(relation.columns[index]!.comment)}`,
  );
  const conditions = [`${IS_DELETED} = 0`];
  if (retention !== null) conditions.push(isKept(retention));
  return [
    `create or replace view ${plan.view} (${columns.join(', ')}) ${AS_OWNER}`,
    `as select ${plan.columns.map(({ name }) => quoteName(name)).join(', ')}`,
    `from ${plan.landing} final`,
    `where ${conditions.join(' and ')}`,
    `comment ${quoteString(relation.comment ?? `Current rows of ${relation.id}`)}`,
  ].join('\n');
}

/**
 * Hides every row below a version: a truncate's, or a snapshot's that does not have them. Rows are read from landing itself, and a
 * second run finds what the first has left: nothing, or the rest.
 */
export function hideBelow(plan: TablePlan, version: string, committedAt: string): string {
  const names = plan.columns.map(({ name }) => quoteName(name)).join(', ');
  return [
    `insert into ${plan.landing} (${plan.insertColumns.join(', ')})`,
    `select ${names}, toUInt128(${quoteString(version)}), 1, toDateTime64(${quoteString(committedAt)}, 6, 'UTC')`,
    `from ${plan.landing} final`,
    `where ${IS_DELETED} = 0 and ${VERSION} < toUInt128(${quoteString(version)})`,
  ].join('\n');
}

export function comment(text: string | null): string {
  return text === null ? '' : ` comment ${quoteString(text)}`;
}
