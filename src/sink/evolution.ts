import { rowsReplaced, type ColumnType, type RelationStamp } from '../pipeline/relation.js';
import { landingFrame } from './landing.js';
import type { TablePlan } from './plan.js';

/** How a landing table was made: what decides whether today's changes go into it. Comments may change freely. */
export interface Definition {
  /** The source table: one that was made anew under its name is another. */
  readonly oid: number;
  readonly columns: readonly DefinedColumn[];
  /** Keys, partitions, retention, settings, and which rows are selected. */
  readonly frame: string;
  /** Only some columns or rows of the table are selected. */
  readonly selected: boolean;
  /** Its changes and versions have been kept since it was copied. */
  readonly history?: boolean;
}

export interface DefinedColumn {
  /** Its number in the source table, which no other column of it ever had; null where that is not known. */
  readonly number: number | null;
  readonly name: string;
  /** The ClickHouse type. */
  readonly type: string;
  /** The Postgres type, as far as it decides what its values look like. */
  readonly source: string;
  /** It is masked, and with which key. */
  readonly mask?: string;
}

/** A definition and the stamp of the relation it was made for. */
export interface Defined {
  readonly definition: Definition;
  readonly stamp: string;
}

export interface Addition extends DefinedColumn {
  /** What the rows show that are older than the column; null for SQL null. */
  readonly missing: string | null;
}

export type Step =
  | { readonly kind: 'same' }
  | { readonly kind: 'alter'; readonly add: readonly Addition[]; readonly drop: readonly DefinedColumn[] }
  | { readonly kind: 'resync'; readonly reason: string };

export function definitionOf(plan: TablePlan): Definition {
  const { relation } = plan;
  return {
    oid: relation.oid,
    columns: plan.columns.map(({ name, stored, mask }, index) => ({
      number: relation.columns[index]!.attnum ?? null,
      name,
      type: stored.type,
      source: looks(relation.columns[index]!.type),
      ...(mask === undefined ? {} : { mask }),
    })),
    frame: `${landingFrame(plan)}\nwhere ${relation.selection?.where ?? 'true'}`,
    selected: relation.selection !== undefined,
    ...(plan.history ? { history: true } : {}),
  };
}

/** Null for one that an earlier release wrote in another way. */
export function parseDefinition(text: string): Definition | null {
  return text.startsWith('{') ? (JSON.parse(text) as Definition) : null;
}

/**
 * What has to become of a landing table whose source has changed: nothing, an ALTER TABLE, or a new copy.
 *
 * A new copy is always right, and takes as long as the table is large. Altered is only where three things are certain: what the
 * rows that are there show now, what the changes show that are still in the WAL from before, and that no name in those changes means
 * another column than it does today.
 *
 * - **Columns were added**, nullable ones without a default, or such as Postgres did not rewrite the rows for: it remembers one constant
 *   for all of them (`attmissingval`). Columns that were not there when an older change was written show the same. The new columns'
 *   numbers follow on the former ones without a gap, so none has come and gone meanwhile, whose name a new one might bear.
 * - **Columns were dropped**: their values in older changes are passed over.
 * - Not both between two looks: a column may have borne, before it was dropped, the name that another has now.
 * - A column that is called otherwise, has another type, or is another one under the same name: older changes could be read wrongly.
 * - Rows were rewritten, or the table's file is another one: Postgres then does not remember what older rows had.
 * - Only some columns or rows are selected: a name that is not selected may be a selected column's former one.
 */
export function stepBetween(before: Defined, after: Defined): Step {
  if (rowsReplaced(before.stamp, after.stamp))
    return resync('its rows were rewritten, or partitions changed');
  const then = before.definition;
  const now = after.definition;
  if (then.oid !== now.oid) return resync('it was dropped and made again');
  if (then.frame !== now.frame)
    return resync('its key, its retention, its condition or its settings are others');
  if (now.history === true && then.history !== true) return resync('its history is kept from now on');
  if (then.selected !== now.selected) return resync('what is selected of it is something else');
  if (JSON.stringify(then.columns) === JSON.stringify(now.columns)) return { kind: 'same' };
  const kept: DefinedColumn[] = [];
  const drop: DefinedColumn[] = [];
  for (const column of then.columns) {
    if (column.number === null) return resync(`nothing says which column ${column.name} was`);
    const today = now.columns.find(({ number }) => number === column.number);
    if (today === undefined) drop.push(column);
    else if (today.name !== column.name) return resync(`column ${column.name} is called ${today.name}`);
    else if (today.mask !== column.mask)
      return resync(`column ${column.name} ${maskChange(column.mask, today.mask)}`);
    else if (today.source !== column.source || today.type !== column.type)
      return resync(`column ${column.name} has another type`);
    else kept.push(column);
  }
  const isKept = new Set(kept.map(({ name }) => name));
  const added = now.columns.filter(({ name }) => !isKept.has(name));
  const shown = [...drop, ...added].map(({ name }) => name).join(', ');
  if (now.selected) return resync(`columns were added or dropped (${shown}), and only some are selected`);
  if (added.length > 0 && drop.length > 0) return resync(`columns were both added and dropped (${shown})`);
  const old = parse(before.stamp);
  const young = parse(after.stamp);
  if (old === null || young === null) return resync('nothing says what became of its rows');
  if (old.file !== young.file)
    return resync(`columns were added or dropped (${shown}), and its file is another one`);
  if (young.width !== old.width + added.length) return resync('columns have come and gone');
  const add: Addition[] = [];
  for (const column of added) {
    const missing = young.missing[column.name];
    if (missing === false) return resync(`rows of its partitions show different values in ${column.name}`);
    if (missing === undefined && !isNullable(column.type))
      return resync(`nothing says what older rows show in ${column.name}`);
    add.push({ ...column, missing: missing ?? null });
  }
  return { kind: 'alter', add, drop };
}

function resync(reason: string): Step {
  return { kind: 'resync', reason };
}

function maskChange(before: string | undefined, after: string | undefined): string {
  if (before === undefined) return 'is masked from now on';
  return after === undefined ? 'is not masked any more' : 'is masked with another key';
}

function isNullable(type: string): boolean {
  return type.includes('Nullable(');
}

function parse(stamp: string): RelationStamp | null {
  return stamp === '' ? null : (JSON.parse(stamp) as RelationStamp);
}

/** varchar and text look alike; other types print their values in their own ways, whatever ClickHouse type keeps them. */
function looks(type: ColumnType): string {
  const name = type.name === 'varchar' ? 'text' : type.name;
  return type.element === undefined ? name : `${looks(type.element)}[]`;
}
