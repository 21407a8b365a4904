import { DATABASE, type World } from './world.js';

interface Logged {
  readonly op: string;
  readonly xid: string;
  readonly before: Record<string, string | null> | null;
  readonly after: Record<string, string | null> | null;
}
interface Audited extends Logged {
  readonly commit_lsn: string;
  readonly ordinal: string;
}

/**
 * Compares the ledger's audit trail with what triggers wrote down in Postgres: every transaction has its changes there once, in their order,
 * with the same images; transactions that changed one row stand in the order in which they did. Returns what is wrong, or null, and counts.
 */
export async function compareAuditTrail(world: World): Promise<{ changes: number; wrong: string | null }> {
  const logged = await world.withPostgres(
    async (client) =>
      (
        await client.query<Logged>(
          `select op, (xid % 4294967296)::text as xid, before, after from chaos.ledger_log order by seq`,
        )
      ).rows,
  );
  const audited = (
    await world.ask<Omit<Audited, 'before' | 'after'> & { before: string | null; after: string | null }>(
      `select op, toString(xid) as xid, before, after, commit_lsn, ordinal from ${DATABASE}_audit.ledger where op != 'r'
        order by commit_lsn, ordinal`,
    )
  ).map((row): Audited => ({ ...row, before: parse(row.before), after: parse(row.after) }));
  return { changes: logged.length, wrong: whatIsWrong(logged, audited) };
}

function whatIsWrong(logged: readonly Logged[], audited: readonly Audited[]): string | null {
  const transactions = groupBy(logged, ({ xid }) => xid);
  const seen = groupBy(audited, ({ xid }) => xid);
  for (const [xid, changes] of transactions) {
    const found = seen.get(xid) ?? [];
    if (changes.map(textOf).join('\n') === found.map(textOf).join('\n')) continue;
    const place = changes.findIndex(
      (change, index) => found[index] === undefined || textOf(change) !== textOf(found[index]),
    );
    return [
      `transaction ${xid} made ${changes.length} changes of the ledger, and its audit trail has ${found.length};`,
      `the first that differs is number ${place + 1}: made ${changes[place] === undefined ? 'nothing' : textOf(changes[place])},`,
      `audited ${found[Math.max(0, place)] === undefined ? 'nothing' : textOf(found[Math.max(0, place)]!)}`,
    ].join(' ');
  }
  for (const [xid, changes] of seen) {
    if (!transactions.has(xid))
      return `the audit trail has ${changes.length} changes of transaction ${xid}, which made none`;
    if (new Set(changes.map(({ commit_lsn: lsn }) => lsn)).size !== 1)
      return `transaction ${xid} is audited at two positions`;
  }
  const made = orderByKey(logged);
  const order = orderByKey(audited);
  for (const [key, transactionsOf] of made) {
    if (transactionsOf === order.get(key)) continue;
    return `row ${key} was changed by transactions ${transactionsOf}, and audited as ${order.get(key) ?? 'never'}`;
  }
  return null;
}

/** Which transactions changed each row, one after another; a truncate changes all that there are, and parts their stories. */
function orderByKey(changes: readonly Logged[]): Map<string, string> {
  const orders = new Map<string, string>();
  let truncates = 0;
  for (const { op, xid, before, after } of changes) {
    if (op === 't') truncates += 1;
    for (const key of new Set([before?.['id'], after?.['id']])) {
      if (key != null) orders.set(key, `${orders.get(key) ?? ''} ${truncates}:${xid}`);
    }
  }
  return orders;
}

function textOf({ op, before, after }: Logged): string {
  const image = (row: Record<string, string | null> | null): string =>
    row === null ? '-' : JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${op} ${image(before)} ${image(after)}`;
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function parse(text: string | null): Record<string, string | null> | null {
  return text === null ? null : (JSON.parse(text) as Record<string, string | null>);
}
