import type { ClientBase, QueryConfig } from 'pg';
import type { Relation } from '../pipeline/relation.js';
import { tokensOf, type Token } from './condition/tokens.js';
import { quoteName } from './connection.js';
import { undone } from './undone.js';

/** What the row is called in the statement that is explained. */
const ROW = 'walhouse_row';
/** Printing a condition and reading it again settles at once; this is only a bound. */
const ROUNDS_MAX = 4;
/** Words that Postgres replaces by a moment when it reads a constant. */
const MOVING = /'[^']*\b(now|today|tomorrow|yesterday)\b[^']*'/i;

/** A condition on rows in the form that Postgres gives it. */
export interface RowCondition {
  /** Constants in their types' own form, columns without their table; null when every row meets it. */
  readonly text: string | null;
  /** The columns it reads, in no order, each once. */
  readonly columns: readonly string[];
}

/** Why a condition cannot be used, as the end of a sentence that begins with it. */
export class ConditionRefused extends Error {
  /** The column that there is not, where it is that. */
  readonly missing: string | null;

  constructor(reason: string, missing: string | null = null) {
    super(reason);
    this.missing = missing;
  }
}

/**
 * Has Postgres read a condition as the WHERE of a statement over rows of the table, and takes it back from the plan: with its types
 * resolved, constants worked out under the pinned settings, and nothing left to how it was written. The statement is over a row made of
 * nulls, so that no index, partition or constraint of the table has a part in the plan; nothing is executed.
 */
export async function rowCondition(
  client: ClientBase,
  relation: Pick<Relation, 'schema' | 'name'>,
  where: string,
): Promise<RowCondition> {
  let found = await explained(client, relation, where);
  for (let round = 1; found.text !== null; round += 1) {
    const again = await explained(client, relation, found.text);
    if (again.text === found.text) break;
    if (round === ROUNDS_MAX) throw new ConditionRefused('is not printed the same twice by Postgres');
    found = again;
  }
  const moving = MOVING.exec(where);
  if (moving !== null && MOVING.exec(found.text ?? '')?.[1] !== moving[1])
    throw new ConditionRefused(`has '${moving[1]!}' in it, which is another moment each time it is read`);
  return found;
}

interface Plan {
  readonly 'Node Type': string;
  readonly Alias?: string;
  readonly Filter?: string;
  readonly 'One-Time Filter'?: string;
  readonly Plans?: readonly Plan[];
}

async function explained(
  client: ClientBase,
  { schema, name }: Pick<Relation, 'schema' | 'name'>,
  where: string,
): Promise<RowCondition> {
  // OFFSET keeps the planner from joining the parts; the line's end keeps a comment from swallowing the parenthesis.
  const text = `explain (format json, verbose, costs off)
    select from (select (one).* from (select null::${quoteName(schema)}.${quoteName(name)} as one offset 0) made offset 0) ${ROW}
     where (${where}\n)`;
  // The extended protocol takes a single statement.
  const query: QueryConfig & { queryMode: 'extended' } = { text, queryMode: 'extended' };
  let plan: Plan;
  try {
    const { rows } = await undone(client, () =>
      client.query<{ 'QUERY PLAN': readonly { readonly Plan: Plan }[] }>(query),
    );
    plan = rows[0]!['QUERY PLAN'][0]!.Plan;
  } catch (error) {
    throw refusal(error);
  }
  if (plan['Node Type'] === 'Result' && plan['One-Time Filter'] === 'false')
    throw new ConditionRefused('is true of no row');
  if (plan.Alias !== ROW || !isPlain(plan, true))
    throw new ConditionRefused('depends on more than columns of the row and constants');
  return plan.Filter === undefined ? { text: null, columns: [] } : unqualified(plan.Filter);
}

/** Nothing but our own two steps below the condition: no subquery, no sort, no clock. */
function isPlain(plan: Plan, isTop: boolean): boolean {
  if (!['Subquery Scan', 'Result'].includes(plan['Node Type'])) return false;
  if (plan['One-Time Filter'] !== undefined || (!isTop && plan.Filter !== undefined)) return false;
  const below = plan.Plans ?? [];
  return below.length <= 1 && below.every((part) => isPlain(part, false));
}

function unqualified(filter: string): RowCondition {
  const tokens = tokensOf(filter);
  const columns = new Set<string>();
  let text = '';
  let from = 0;
  tokens.forEach((token, index) => {
    if (token.kind !== 'name' || token.text !== ROW || !isSymbol(tokens[index + 1], '.')) return;
    const column = tokens[index + 2];
    if (column?.kind !== 'name') throw new ConditionRefused('compares whole rows');
    columns.add(column.text);
    text += filter.slice(from, token.at);
    from = column.at;
  });
  return { text: text + filter.slice(from), columns: [...columns] };
}

function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text;
}

/** What Postgres has against the statement; it names objects and quotes the condition, never a row. */
function refusal(error: unknown): unknown {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || typeof message !== 'string') return error;
  if (!/^(22|42|0A|2F|54|08P01)/.test(code) || code === '42501') return error;
  const missing = code === '42703' ? (/column "(.*)" does not exist/.exec(message)?.[1] ?? null) : null;
  return new ConditionRefused(`is refused by Postgres: ${message}`, missing);
}
