import { snapshotVersion } from '../pipeline/version.js';
import type { Lsn } from '../pipeline/lsn.js';
import { DURABLE } from './durability.js';
import { qualified, quoteName, quoteString } from './identifier.js';
import {
  COMMITTED_AT,
  IS_DELETED,
  NEXT_VERSIONS_PREFIX,
  OP,
  VERSION,
  VERSIONS_PREFIX,
  XID,
  type Databases,
} from './names.js';
import type { TablePlan } from './plan.js';
import { partitionBy, TTL_SETTINGS, ttlOf } from './retention.js';
import type { Server } from './server.js';
import { formatMicros } from './times.js';
import type { VersionOp } from './version-rows.js';

/**
 * Every version of a table's rows, tombstones included, in landing's own columns: what landing would hold if merges left older versions. So
 * values are encoded once, versions of one sort key expire together as they do there, and what is delivered again replaces itself.
 */
export function versionsTable(plan: TablePlan, constraints: readonly string[] = []): string {
  const { relation, retention } = plan;
  const key = relation.key.map((index) => quoteName(relation.columns[index]!.name));
  const sort = sortColumns(plan);
  const definitions = [
    ...plan.columns.map(({ name, stored }) => `${quoteName(name)} ${stored.type}`),
    `${VERSION} UInt128`,
    `${IS_DELETED} UInt8`,
    `${COMMITTED_AT} DateTime64(6, 'UTC')`,
    `${OP} LowCardinality(String) default 'q'`,
    `${XID} UInt32`,
    ...constraints,
  ];
  return [
    `create table if not exists ${plan.versions} (`,
    definitions.map((line) => `  ${line}`).join(',\n'),
    ') engine = ReplacingMergeTree',
    ...(retention === null ? [] : [`partition by ${partitionBy(retention)}`]),
    `primary key (${key.join(', ')})`,
    `order by (${[...sort, VERSION].join(', ')})`,
    ...(retention === null ? [] : [`ttl ${ttlOf(retention)}`]),
    `settings allow_nullable_key = 1, ${DURABLE}${retention === null ? '' : `, ${TTL_SETTINGS}`}`,
    `comment ${quoteString(remark(plan))}`,
  ].join('\n');
}

/** Says which column of the source each of its columns is, so that one that was renamed is found again. */
export function rememberColumns(plan: TablePlan): string {
  return `modify comment ${quoteString(remark(plan))}`;
}

export function versionsName(plan: TablePlan): string {
  return `${VERSIONS_PREFIX}${plan.name}`;
}

export function nextVersionsName(plan: TablePlan): string {
  return `${NEXT_VERSIONS_PREFIX}${plan.name}`;
}

/** The plan with the versions of its stage. */
export function withNextVersions(plan: TablePlan, { landing }: Databases): TablePlan {
  return { ...plan, versions: qualified(landing, nextVersionsName(plan)) };
}

/** Whether the table of versions is there with the columns that the plan writes. */
export async function versionsFit(server: Server, { landing }: Databases, plan: TablePlan): Promise<boolean> {
  const there = await columnsOf(server, landing, versionsName(plan));
  const wanted = [...plan.columns.map(({ name }) => name), VERSION, IS_DELETED, COMMITTED_AT, OP, XID];
  return there.size === wanted.length && wanted.every((name) => there.has(name));
}

/**
 * Ends the life of every row below a version: a truncate's, or a snapshot's that does not have them. What came after it
 * stays, and a second run finds what the first has left.
 */
export function endBelow(
  plan: TablePlan,
  end: {
    readonly version: string;
    readonly committedAt: string;
    readonly op: VersionOp;
    readonly xid: number;
  },
): string {
  const names = plan.columns.map(({ name }) => quoteName(name)).join(', ');
  const sort = sortColumns(plan).join(', ');
  const version = `toUInt128(${quoteString(end.version)})`;
  return [
    `insert into ${plan.versions} (${[...plan.insertColumns, OP, XID].join(', ')})`,
    `select ${names}, ${version}, 1, toDateTime64(${quoteString(end.committedAt)}, 6, 'UTC'), ${quoteString(end.op)}, ${end.xid}`,
    `from (select ${names}, ${VERSION} as _v, ${IS_DELETED} as _gone from ${plan.versions}`,
    `  where ${VERSION} <= ${version} order by ${sort}, ${VERSION} desc limit 1 by ${sort})`,
    `where _gone = 0 and _v < ${version}`,
  ].join('\n');
}

/** As `endBelow`, for rows that a snapshot at C has not. */
export function endUnread(plan: TablePlan, consistentPoint: Lsn, takenAt: string): string {
  const version = snapshotVersion(consistentPoint).toString();
  return endBelow(plan, { version, committedAt: takenAt, op: 'g', xid: 0 });
}

/**
 * Brings the versions of a table's former columns into those of its new copy. A column is found by its number in the source, so one that
 * was renamed keeps its values. A value that is another one in the new type, there and back, is left out: its column is null there, or
 * the type's default; so are values that were masked otherwise than they are today, or not at all. Rows without a part of today's key cannot be told apart, and stay behind.
 */
export async function carryOver(server: Server, databases: Databases, plan: TablePlan): Promise<void> {
  const doing = `bringing the history of ${plan.id} into its new copy`;
  const { landing } = databases;
  const former = await columnsOf(server, landing, versionsName(plan));
  if (former.size === 0) return;
  const today = await columnsOf(server, landing, nextVersionsName(plan));
  const { numbers, masks } = remembered(await commentOf(server, landing, versionsName(plan)));
  const needed: string[] = [];
  const values = plan.columns.map(({ name, sorts, mask }, index) => {
    const number = plan.relation.columns[index]!.attnum;
    const old = number === undefined || numbers === null ? name : numbers.get(number);
    const from = old === undefined ? undefined : former.get(old);
    const to = today.get(name)!;
    if (old === undefined || from === undefined || masks.get(old) !== mask) {
      if (sorts) needed.push('0');
      return `defaultValueOfTypeName(${quoteString(to)})`;
    }
    if (from === to) return quoteName(old);
    const { value, isKept } = converted(quoteName(old), from, to);
    if (sorts) needed.push(isKept);
    return value;
  });
  const rest = [VERSION, IS_DELETED, COMMITTED_AT, OP, XID];
  const next = withNextVersions(plan, databases);
  await server.longCommand(
    [
      `insert into ${next.versions} (${[...plan.insertColumns, OP, XID].join(', ')})`,
      `select ${[...values, ...rest].join(', ')} from ${plan.versions}`,
      ...(needed.length === 0 ? [] : [`where ${needed.join(' and ')}`]),
    ].join('\n'),
    doing,
  );
}

/**
 * How versions that are left of a history which is not kept any more come to hold nothing of columns that were masked otherwise then, or not
 * at all. Null where there is nothing to do.
 */
export async function forgetOtherwiseMaskedVersions(
  server: Server,
  { landing }: Databases,
  plan: TablePlan,
): Promise<{ readonly update: string; readonly remember: string } | null> {
  const types = await columnsOf(server, landing, versionsName(plan));
  const comment = await commentOf(server, landing, versionsName(plan));
  const { columns, numbers, masks } = remembered(comment);
  const today = new Map(masks);
  const updates: string[] = [];
  plan.columns.forEach(({ name, mask }, index) => {
    const number = plan.relation.columns[index]!.attnum;
    const old = number === undefined || numbers === null ? name : numbers.get(number);
    const type = old === undefined ? undefined : types.get(old);
    if (old === undefined || type === undefined || masks.get(old) === mask) return;
    updates.push(`${quoteName(old)} = defaultValueOfTypeName(${quoteString(type)})`);
    if (mask === undefined) today.delete(old);
    else today.set(old, mask);
  });
  if (updates.length === 0) return null;
  const pairs = columns.map(([number, name]) => [
    number,
    name,
    ...(today.has(name) ? [today.get(name)] : []),
  ]);
  const words = `${VERSIONS_OF}${plan.id}${NUMBERS}${JSON.stringify(pairs)}`;
  return { update: updates.join(', '), remember: `modify comment ${quoteString(words)}` };
}

/** How a value is shown in another type, and whether it is shown at all. */
function converted(column: string, from: string, to: string): { value: string; isKept: string } {
  const [bareFrom, bareTo] = [bare(from), bare(to)];
  const none = `defaultValueOfTypeName(${quoteString(to)})`;
  if (bareFrom === bareTo) {
    const isKept = to.includes('Nullable(') ? 'true' : `isNotNull(${column})`;
    return { value: `if(${isKept}, cast(${column} as ${nullable(to)}), ${none})`, isKept };
  }
  if (/^(Array|Map|Tuple)/.test(bareFrom) || /^(Array|Map|Tuple)/.test(bareTo))
    return { value: none, isKept: 'false' };
  const there = `accurateCastOrNull(${column}, ${quoteString(bareTo)})`;
  const isKept = `ifNull(accurateCastOrNull(${there}, ${quoteString(bareFrom)}) = ${column}, false)`;
  return { value: `if(${isKept}, cast(${there} as ${nullable(to)}), ${none})`, isKept };
}

function bare(type: string): string {
  return type.replace(/^LowCardinality\((.*)\)$/, '$1').replace(/^Nullable\((.*)\)$/, '$1');
}

function nullable(type: string): string {
  return bare(type).startsWith('Array(') ? type : `Nullable(${bare(type)})`;
}

/** The columns by which versions belong to one another, and expire together: as in landing. */
export function sortColumns({ relation, retention }: TablePlan): string[] {
  const key = relation.key.map((index) => quoteName(relation.columns[index]!.name));
  return retention === null || key.includes(quoteName(retention.column))
    ? key
    : [...key, quoteName(retention.column)];
}

/** Types by column; empty where there is no such table. */
async function columnsOf(server: Server, database: string, table: string): Promise<Map<string, string>> {
  const rows = await server.rows<{ name: string; type: string }>(
    'select name, type from system.columns where database = {database:String} and table = {table:String}',
    `reading the columns of ${table}`,
    { database, table },
  );
  return new Map(rows.map(({ name, type }) => [name, type]));
}

async function commentOf(server: Server, database: string, table: string): Promise<string> {
  const [row] = await server.rows<{ comment: string }>(
    'select comment from system.tables where database = {database:String} and name = {table:String}',
    `reading the comment of ${table}`,
    { database, table },
  );
  return row?.comment ?? '';
}

const VERSIONS_OF = 'Every version of the rows of ';
const NUMBERS = ', columns by their numbers: ';

function remark({ id, columns, relation }: TablePlan): string {
  const numbers = columns.map(({ name, mask }, index) => [
    relation.columns[index]!.attnum ?? null,
    name,
    ...(mask === undefined ? [] : [mask]),
  ]);
  return `${VERSIONS_OF}${id}${NUMBERS}${JSON.stringify(numbers)}`;
}

interface Remembered {
  readonly columns: readonly [number | null, string, string?][];
  /** Names by number; null where not all numbers are known. */
  readonly numbers: ReadonlyMap<number, string> | null;
  /** With which keys columns were masked, by name. */
  readonly masks: ReadonlyMap<string, string>;
}

function remembered(comment: string): Remembered {
  const at = comment.indexOf(NUMBERS);
  if (at < 0) return { columns: [], numbers: null, masks: new Map() };
  const columns = JSON.parse(comment.slice(at + NUMBERS.length)) as [number | null, string, string?][];
  const numbers = columns.map(([number, name]) => [number, name] as const);
  const isNumbered = (pair: readonly [number | null, string]): pair is [number, string] => pair[0] !== null;
  return {
    columns,
    numbers: numbers.every(isNumbered) ? new Map(numbers) : null,
    masks: new Map(columns.flatMap(([, name, mask]) => (mask === undefined ? [] : [[name, mask] as const]))),
  };
}

/** Now, as a moment of ClickHouse. */
export function now(): string {
  return formatMicros(BigInt(Date.now()) * 1000n);
}
