import { snapshotVersion } from '../pipeline/version.js';
import type { Lsn } from '../pipeline/lsn.js';
import { DURABLE } from './durability.js';
import { half } from './history-views.js';
import { quoteString } from './identifier.js';
import { AS_OWNER } from './landing.js';
import type { TablePlan } from './plan.js';
import { isKept, partitionBy, TTL_SETTINGS, ttlOf, type Retention } from './retention.js';

/** In the order that AuditRows writes. */
export const AUDIT_COLUMNS = [
  'op',
  'key',
  'before',
  'after',
  '_retention_date',
  '_version',
  'committed_at',
  'commit_lsn',
  'ordinal',
  'xid',
];

/**
 * The table behind the audit trail: one row a change. The key and the version tell rows apart, so what is delivered again replaces
 * itself; the view reads it with FINAL.
 */
export function auditTable(plan: TablePlan): string {
  const retention = plan.retention === null ? null : auditRetention(plan.retention);
  return [
    `create table if not exists ${plan.auditRows} (`,
    `  op LowCardinality(String),
  key String,
  before Nullable(String),
  after Nullable(String),
  _retention_date Nullable(DateTime64(6, 'UTC')),
  _version UInt128,
  committed_at DateTime64(6, 'UTC'),
  commit_lsn UInt64,
  ordinal UInt64,
  xid UInt32`,
    ') engine = ReplacingMergeTree',
    ...(retention === null ? [] : [`partition by ${partitionBy(retention)}`]),
    'order by (key, _version)',
    ...(retention === null ? [] : [`ttl ${ttlOf(retention)}`]),
    `settings ${DURABLE}${retention === null ? '' : `, ${TTL_SETTINGS}`}`,
    `comment ${quoteString(remark(plan))}`,
  ].join('\n');
}

const MASKS = ', masked: ';

/** With the columns that are masked, and with which key. */
function remark({ id, columns }: TablePlan): string {
  const masks = columns.flatMap(({ name, mask }) => (mask === undefined ? [] : [[name, mask] as const]));
  return `Every change of ${id}${masks.length === 0 ? '' : `${MASKS}${JSON.stringify(masks)}`}`;
}

/**
 * How a trail is brought to hold nothing of columns that were masked otherwise when it was written, or not at all: a value cannot be masked
 * where it stands, since the key is not there. Null where there is nothing to do. `comment` is the trail's own.
 */
export function forgetOtherwiseMasked(
  plan: TablePlan,
  comment: string,
): { readonly update: string; readonly where: string; readonly remember: string } | null {
  const at = comment.indexOf(MASKS);
  const then = new Map(at < 0 ? [] : (JSON.parse(comment.slice(at + MASKS.length)) as [string, string][]));
  const now = new Map(plan.columns.map(({ name, mask }) => [name, mask]));
  const names = [...new Set([...then.keys(), ...now.keys()])].filter(
    (name) => then.get(name) !== now.get(name),
  );
  if (names.length === 0) return null;
  const list = names.map(quoteString).join(', ');
  const without = (image: string): string =>
    `${image} = if(isNull(${image}), null, concat('{', arrayStringConcat(arrayMap(p -> concat(toJSONString(p.1), ':', p.2), ` +
    `arrayFilter(p -> p.1 not in (${list}), JSONExtractKeysAndValuesRaw(assumeNotNull(${image})))), ','), '}'))`;
  const has = (image: string): string => `hasAny(JSONExtractKeys(ifNull(${image}, '{}')), [${list}])`;
  return {
    update: `${without('before')}, ${without('after')}`,
    where: `(${has('before')} or ${has('after')})`,
    remember: `modify comment ${quoteString(remark(plan))}`,
  };
}

/** What people read: every change once, in whatever order they ask for (`order by commit_lsn, ordinal` is the source's). */
export function auditView(plan: TablePlan): string {
  const retention = plan.retention === null ? null : auditRetention(plan.retention);
  return [
    `create or replace view ${plan.audit} (`,
    `  op LowCardinality(String) comment 'c: created, u: updated, d: deleted, t: the table was truncated; no changes: r: read by a snapshot, g: the table is read anew, and changes committed since the one before this may be missing',
  key String comment 'The row''s key after the change, a JSON object of texts',
  before Nullable(String) comment 'The row before the change, a JSON object of texts',
  after Nullable(String) comment 'The row after the change, a JSON object of texts',
  committed_at DateTime64(6, 'UTC') comment 'When Postgres committed the change',
  lsn String comment 'Where the transaction committed, as Postgres writes it',
  commit_lsn UInt64 comment 'The same as a number',
  ordinal UInt64 comment 'The change''s place in its transaction, from 1',
  xid UInt32 comment 'The transaction''s id in Postgres'`,
    `) ${AS_OWNER} as select op, key, before, after, committed_at,`,
    `  concat(${half('intDiv(commit_lsn, 4294967296)')}, '/', ${half('bitAnd(commit_lsn, 4294967295)')}) as lsn,`,
    '  commit_lsn, ordinal, xid',
    `from ${plan.auditRows} final`,
    ...(retention === null ? [] : [`where ${isKept(retention)}`]),
    `comment ${quoteString(`Every change of ${plan.id}, once`)}`,
  ].join('\n');
}

/**
 * Says that changes may be missing: the table was read anew at C, after its columns changed or what was stored could not be continued.
 * The rows that were read follow. Nothing is written where the trail begins.
 */
export function auditGap(plan: TablePlan, consistentPoint: Lsn, takenAt: string): string {
  const version = `toUInt128(${quoteString(snapshotVersion(consistentPoint).toString())})`;
  return [
    `insert into ${plan.auditRows} (op, key, _version, committed_at, commit_lsn, ordinal, xid)`,
    `select 'g', '', ${version}, toDateTime64(${quoteString(takenAt)}, 6, 'UTC'), ${consistentPoint - 1n}, 0, 0`,
    `where exists (select 1 from ${plan.auditRows} where _version < ${version})`,
  ].join('\n');
}

/** Retention over the trail's own column: the earlier date of both images. */
export function auditRetention({ keep }: Retention): Retention {
  return { column: '_retention_date', keep };
}
