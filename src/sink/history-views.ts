import { quoteName, quoteString } from './identifier.js';
import { AS_OWNER, comment } from './landing.js';
import { COMMITTED_AT, IS_DELETED, OP, VERSION, XID } from './names.js';
import type { TablePlan } from './plan.js';
import { isKept } from './retention.js';
import { sortColumns } from './versions.js';

const STEPS = "toUInt128('1000000000000')";

/**
 * The table as it was at a moment: `select * from shop.payments_at(ts = '2026-11-01 00:00:00')`. Of each sort key the newest version that was
 * committed by then; its condition on tombstones and retention are those of the table's own view.
 */
export function atView(plan: TablePlan, view: string): string {
  const columns = plan.columns.map(({ name }) => quoteName(name));
  const sort = sortColumns(plan);
  const conditions = ['_newest.2 = 0'];
  if (plan.retention !== null) conditions.push(isKept(plan.retention));
  const others = columns.filter((column) => !sort.includes(column));
  const shown = columns.map((column) => {
    const place = others.indexOf(column);
    return place < 0 ? column : `tupleElement(_newest.1, ${place + 2}) as ${column}`;
  });
  return [
    `create or replace view ${view} ${AS_OWNER}`,
    `as select ${shown.join(', ')}`,
    `from (select ${sort.join(', ')}, argMax((tuple(${['0', ...others.map((name) => `_v.${name}`)].join(', ')}), ${IS_DELETED}), ${VERSION}) as _newest`,
    `  from ${plan.versions} as _v where ${COMMITTED_AT} <= {ts:DateTime64(6, 'UTC')} group by ${sort.join(', ')})`,
    `where ${conditions.join(' and ')}`,
    `comment ${quoteString(
      `${plan.id} as it was at a moment, by the time of commit: select * from ${plan.name}_at(ts = '2026-11-01 00:00:00'). Rows that were there before the first snapshot count from that snapshot on; rows past their retention today are not shown.`,
    )}`,
  ].join('\n');
}

/** What the views say besides the source's columns; with an underscore before it where the source has such a column. */
const FACTS = [
  ['valid_from', "DateTime64(6, 'UTC')", 'When the transaction was committed that made this version; for op r, when it was read'],
  ['valid_to', "Nullable(DateTime64(6, 'UTC'))", 'When the next one was, up to which this one stood; null: it stands. For an end, the same as valid_from'],
  ['op', 'LowCardinality(String)', 'c: created, u: updated, r: read by a snapshot, which is no change; ends: d: deleted, t: the table was truncated, q: gone to quarantine, u: its key became another one, g: no longer there when the table was read anew'],
  ['changed', 'Array(String)', 'The columns that differ from the version before'],
  ['lsn', 'String', 'Where the transaction committed, as Postgres writes it'],
  ['commit_lsn', 'UInt64', 'The same as a number'],
  ['ordinal', 'UInt64', "The change's place in its transaction, from 1; 0 for op r and g"],
  ['xid', 'UInt32', "The transaction's id in Postgres; 0 for op r and g"],
] as const; // prettier-ignore

/**
 * The lives of rows: one row per version, and one for each end of a life. A tombstone that an update leaves beside its new row
 * is no end, and a row that a snapshot has read as it stood is no version; both are left out before versions are joined to their next.
 */
export function lifeView(plan: TablePlan, view: string): string {
  const { relation, retention } = plan;
  const columns = plan.columns.map(({ name }) => quoteName(name));
  const key = relation.key.map((index) => quoteName(relation.columns[index]!.name)).join(', ');
  const names = new Set(plan.columns.map(({ name }) => name));
  const facts = FACTS.map(([fact]) => {
    let name: string = fact;
    while (names.has(name)) name = `_${name}`;
    return quoteName(name);
  });
  const own = [VERSION, IS_DELETED, COMMITTED_AT, OP, XID];
  const order = `order by ${VERSION}, ${IS_DELETED} desc`;
  const all = 'rows between unbounded preceding and unbounded following';
  const window = `(partition by ${key} ${order} ${all})`;
  const differing = columns.map((column, index) => {
    const before = `tupleElement(_before.3, ${index + 2})`;
    const name = quoteString(plan.columns[index]!.name);
    return `if(isNull(${column}) != isNull(${before}) or ifNull(toString(${column}), '') != ifNull(toString(${before}), ''), ${name}, '')`;
  });
  const definitions = [
    ...plan.columns.map(
      ({ name, stored }, index) =>
        `${quoteName(name)} ${stored.type}${comment(relation.columns[index]!.comment)}`,
    ),
    ...FACTS.map(([, type, text], index) => `${facts[index]} ${type}${comment(text)}`),
  ];
  const commit = `toUInt64(intDiv(${VERSION}, ${STEPS}))`;
  return [
    `create or replace view ${view} (${definitions.join(', ')}) ${AS_OWNER}`,
    `as select ${columns.join(', ')},`,
    `  ${COMMITTED_AT} as ${facts[0]},`,
    `  if(${IS_DELETED} = 1, toNullable(${COMMITTED_AT}), leadInFrame(toNullable(${COMMITTED_AT})) over ${window}) as ${facts[1]},`,
    `  ${OP} as ${facts[2]}, _changed as ${facts[3]},`,
    `  concat(${half(`intDiv(${commit}, 4294967296)`)}, '/', ${half(`bitAnd(${commit}, 4294967295)`)}) as ${facts[4]},`,
    `  ${commit} as ${facts[5]}, toUInt64(intDiv(${VERSION} % ${STEPS}, 2)) as ${facts[6]}, ${XID} as ${facts[7]}`,
    `from (`,
    `  select *,`,
    `    tupleElement(_before, 1) = 0 or (tupleElement(_before, 2) = 1 and tupleElement(_before, 4) + 1 < ${VERSION}) as _is_first,`,
    `    if(_is_first or ${IS_DELETED} = 1, [], arrayFilter(x -> x != '', [${differing.join(', ')}])) as _changed`,
    `  from (`,
    `    select ${[...columns, ...own].join(', ')},`,
    `      lagInFrame((1, ${IS_DELETED}, tuple(0, ${columns.join(', ')}), ${VERSION})) over ${window} as _before,`,
    `      leadInFrame((1, ${IS_DELETED}, ${VERSION})) over ${window} as _next`,
    `    from ${plan.versions} final`,
    ...(retention === null ? [] : [`    where ${isKept(retention)}`]),
    `  )`,
    `  where if(${IS_DELETED} = 1,`,
    `    _before.1 = 1 and _before.2 = 0 and not (_next.1 = 1 and _next.2 = 0 and _next.3 <= ${VERSION} + 1),`,
    `    not (${OP} = 'r' and not _is_first and empty(_changed)))`,
    `)`,
    `comment ${quoteString(`The lives of the rows of ${plan.id}: one row per version, and one per end. Begins with what the first snapshot read.`)}`,
  ].join('\n');
}

/** Half of a position in hexadecimal, without zeros in front. */
export function half(number: string): string {
  return `if(${number} = 0, '0', trim(leading '0' from hex(toUInt32(${number}))))`;
}
