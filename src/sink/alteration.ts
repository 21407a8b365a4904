import { WalhouseError } from '../pipeline/errors.js';
import { formatLsn, lsnFrom, type Lsn } from '../pipeline/lsn.js';
import type { Evolution } from '../pipeline/source.js';
import { CANNOT_HOLD, VALUE_ROOM } from './encoders.js';
import type { Addition, Definition, DefinedColumn, Step } from './evolution.js';
import { quoteName, quoteString } from './identifier.js';
import { comment } from './landing.js';
import { COMMITTED_AT, IS_DELETED, SYNCED_AT, VERSION } from './names.js';
import type { Missing, TablePlan } from './plan.js';
import type { Server } from './server.js';
import { versionsName } from './versions.js';

/** What is remembered of a landing table that was altered, until its next new copy. JSON. */
interface Altered {
  /** All before this was stored while the columns were the former ones; it is not read again. */
  readonly since: string;
  readonly until: string;
  readonly names: readonly string[];
  readonly missing: Readonly<Record<string, string | null>>;
}

/** Up to where all is stored, and where the source stood after it was looked at. */
export interface Moment {
  readonly applied: Lsn;
  readonly seen: Lsn;
}

/** A landing table as it will be, or why it cannot come to that by ALTER TABLE. */
export type Prepared = Alteration | { readonly reason: string };

export interface Alteration {
  readonly plan: TablePlan;
  /** To be remembered. */
  readonly altered: string;
  /** What is run before and after people's view is made anew, which must find its columns at any time. */
  readonly first: string | null;
  readonly last: string | null;
}

/**
 * Works out how a landing table is altered, and proves that it may be: that the table is what it is remembered to be, and that ClickHouse
 * shows for a new column, in rows that lack it, exactly what is stored for changes that lack it. Changes nothing.
 */
export async function prepareAlteration(
  server: Server,
  landing: string,
  plan: TablePlan,
  before: { readonly definition: Definition; readonly altered: string },
  { add, drop }: Extract<Step, { kind: 'alter' }>,
  { applied, seen }: Moment,
): Promise<Prepared> {
  const pending = parse(before.altered);
  if (pending !== null && applied < lsnFrom(pending.until))
    return { reason: 'changes of before its columns changed the last time are yet to come' };
  const doing = `preparing to alter ${plan.id}`;
  const former = before.definition.columns;
  if (!(await hasColumns(server, landing, plan.name, former, doing)))
    return { reason: 'its table in ClickHouse is not what it was left as' };
  const tables = plan.history ? [plan.name, versionsName(plan)] : [plan.name];
  if (await hasRemains(server, landing, tables, add, doing))
    return { reason: 'values of a dropped column of that name have not been removed yet' };
  const altered: Altered = {
    since: formatLsn(applied),
    until: formatLsn(seen),
    names: [...former, ...add].map(({ name }) => name),
    missing: Object.fromEntries(add.map(({ name, missing }) => [name, missing])),
  };
  const text = JSON.stringify(altered);
  const future = withMissing(plan, altered);
  if (future === null) return { reason: 'what older rows show in a new column cannot be held' };
  const additions: string[] = [];
  for (const column of add) {
    const definition = await additionOf(server, future, column, doing);
    if (definition === null)
      return { reason: `what older rows show in ${column.name} could not be given to them exactly` };
    additions.push(`add column ${definition}`);
  }
  const drops = drop.map(({ name }) => `drop column ${quoteName(name)}`);
  return {
    plan: future,
    altered: text,
    first: additions.length === 0 ? null : additions.join(', '),
    last: drops.length === 0 ? null : drops.join(', '),
  };
}

/** The plan and the evolution of a table that was altered earlier, and from where on its changes are read. */
export function resume(
  plan: TablePlan,
  text: string,
  applied: Lsn,
): { plan: TablePlan; since: Lsn; evolution: Evolution | null } {
  const altered = parse(text);
  if (altered === null) return { plan, since: 0n, evolution: null };
  const until = lsnFrom(altered.until);
  // Once all older changes are stored with what their columns have become, none of them is read again.
  if (applied >= until) return { plan, since: until, evolution: null };
  const since = lsnFrom(altered.since);
  const { names, missing } = altered;
  const future = withMissing(plan, altered);
  if (future === null) throw new Error(`${plan.id} was altered for values that cannot be held`);
  return { plan: future, since, evolution: { names, younger: Object.keys(missing), until } };
}

function parse(text: string): Altered | null {
  return text === '' ? null : (JSON.parse(text) as Altered);
}

function withMissing(plan: TablePlan, { missing }: Altered): TablePlan | null {
  let missingBytes = 0;
  const columns = [];
  for (const column of plan.columns) {
    const text = Object.hasOwn(missing, column.name) ? missing[column.name] : undefined;
    if (text === undefined) columns.push(column);
    else {
      const field = encode(column.stored.encode, text);
      if (field === null) return null;
      missingBytes += field.length;
      columns.push({ ...column, missing: { text, field } });
    }
  }
  return { ...plan, columns, missingBytes };
}

function encode(
  encoder: TablePlan['columns'][number]['stored']['encode'],
  text: string | null,
): Buffer | null {
  if (text === null) return Buffer.from('\\N');
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(8 * bytes.length + VALUE_ROOM);
  const end = encoder(out, 0, bytes, 0, bytes.length);
  return end === CANNOT_HOLD ? null : out.subarray(0, end);
}

async function hasColumns(
  server: Server,
  landing: string,
  table: string,
  columns: readonly DefinedColumn[],
  doing: string,
): Promise<boolean> {
  const rows = await server.rows<{ name: string }>(
    'select name from system.columns where database = {landing:String} and table = {table:String}',
    doing,
    { landing, table },
  );
  const there = rows.map(({ name }) => name).sort();
  const own = [VERSION, IS_DELETED, COMMITTED_AT, SYNCED_AT];
  const expected = [...columns.map(({ name }) => name), ...own].sort();
  return JSON.stringify(there) === JSON.stringify(expected);
}

/** A column that was dropped is removed from its parts one by one; under the same name its values would be read again. */
async function hasRemains(
  server: Server,
  landing: string,
  tables: readonly string[],
  add: readonly Addition[],
  doing: string,
): Promise<boolean> {
  const rows = await server.rows<object>(
    `select 1 from system.parts_columns where database = {landing:String} and table in {tables:Array(String)}
        and column in {names:Array(String)} limit 1`,
    doing,
    { landing, tables, names: add.map(({ name }) => name) },
  );
  return rows.length > 0;
}

/** The column with what rows show that lack it; null where ClickHouse shows anything else than it reads from the encoded field. */
async function additionOf(
  server: Server,
  plan: TablePlan,
  { name, type }: Addition,
  doing: string,
): Promise<string | null> {
  const index = plan.columns.findIndex((column) => column.name === name);
  const { missing } = plan.columns[index]!;
  const described = `${quoteName(name)} ${type}`;
  const remark = comment(plan.relation.columns[index]!.comment);
  if (missing === undefined || missing.text === null) return `${described}${remark}`;
  for (const text of literals(missing)) {
    const shown = `cast(${quoteString(text)} as ${type})`;
    if (await isShown(server, type, missing, shown, text, doing))
      return `${described} default ${shown}${remark}`;
  }
  return null;
}

/** The field itself, where nothing in it is escaped, else Postgres's text. */
function literals({ text, field }: Missing): string[] {
  const plain = field.toString();
  return [...new Set([...(plain.includes('\\') ? [] : [plain]), text!])];
}

async function isShown(
  server: Server,
  type: string,
  { field }: Missing,
  shown: string,
  text: string,
  doing: string,
): Promise<boolean> {
  if (!Buffer.from(field.toString()).equals(field)) return false;
  const stored = `format(TabSeparated, ${quoteString(`c ${type}`)}, ${quoteString(`${field.toString()}\n`)})`;
  const possible = `isNotNull(accurateCastOrNull(${quoteString(text)}, ${quoteString(type.replace(/^LowCardinality\((.*)\)$/, '$1'))}))`;
  try {
    const [can] = await server.rows<{ can: number }>(`select ${possible} as can`, doing);
    if (Number(can?.can) !== 1) return false;
    // Equal numbers may still be two, as 0 and -0 are.
    const [row] = await server.rows<{ same: number }>(
      `select assumeNotNull(c = ${shown} and toString(c) = toString(${shown})) as same from ${stored}`,
      doing,
    );
    return Number(row?.same) === 1;
  } catch (error) {
    if (error instanceof WalhouseError && error.kind === 'sink_rejected') return false;
    throw error;
  }
}
