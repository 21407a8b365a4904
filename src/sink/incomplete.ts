import type { Tuple } from '../pipeline/tuple.js';
import { CANNOT_HOLD, VALUE_ROOM } from './encoders.js';
import { askedKeys } from './asked-keys.js';
import { quoteName } from './identifier.js';
import { IS_DELETED, VERSION } from './names.js';
import type { TablePlan } from './plan.js';
import type { QuarantinedRow } from './quarantine.js';
import type { RowBuffer } from './row-buffer.js';
import type { Server } from './server.js';

/**
 * A row whose unchanged large values Postgres did not send and whose old image does not have them either (replica identity
 * DEFAULT or an index). They are looked up when the batch is stored: in the batch itself, then in landing.
 */
export interface IncompleteRow {
  /** The encoded row, field by field, with blanks at `holes`; one character a byte. */
  readonly fields: string[];
  readonly holes: readonly number[];
  /** The encoded key under which the version before this one stands: the old one where the key changed. */
  readonly lookup: string;
  readonly version: bigint;
  /** What goes to quarantine if the values are nowhere. */
  readonly otherwise: QuarantinedRow;
}

/** Cuts the row just written out of the buffer again. */
export function takeBack(out: RowBuffer, from: number): string[] {
  const line = out.bytes.toString('latin1', from, out.at - 1);
  out.at = from;
  out.rows -= 1;
  return line.split('\t');
}

/** The row's key as the encoder writes it, fields joined by tabs; null when it cannot be held. */
export function encodedKey(plan: TablePlan, row: Tuple): string | null {
  const fields: string[] = [];
  for (const index of plan.relation.key) {
    const start = row.start[index]!;
    if (start < 0) return null;
    const length = row.end[index]! - start;
    const out = Buffer.alloc(2 * length + VALUE_ROOM);
    const end = plan.columns[index]!.stored.encode(out, 0, row.bytes, start, row.end[index]!);
    if (end === CANNOT_HOLD) return null;
    fields.push(out.toString('latin1', 0, end));
  }
  return fields.join('\t');
}

/** A version of a row as landing or a batch has it. */
export interface Candidate {
  readonly fields: readonly string[];
  readonly version: bigint;
  readonly isDeleted: boolean;
}

/**
 * Completes the rows and appends them to `out`; returns those that go to quarantine instead.
 *
 * The values are those of the version just below the row's own. Where landing has none below but some at or above, this
 * row was stored before and is superseded (only newest versions are promised to stay), so it is left out.
 */
export async function complete(
  plan: TablePlan,
  out: RowBuffer,
  incomplete: readonly IncompleteRow[],
  server: Server,
): Promise<QuarantinedRow[]> {
  const wanted = new Set(incomplete.map((row) => row.lookup));
  const inBatch = linesOf(plan, out, wanted);
  const stored = await readLanding(plan, [...wanted], server);
  const refused: QuarantinedRow[] = [];
  for (const row of incomplete) {
    // Below the whole change: a key change has its own tombstone just under the row.
    const older = newestBelow(row.version - 1n, inBatch.get(row.lookup), stored.get(row.lookup));
    if (older === 'superseded') continue;
    if (older === null || older.isDeleted) {
      refused.push(row.otherwise);
      continue;
    }
    for (const hole of row.holes) row.fields[hole] = older.fields[hole]!;
    append(out, row.fields);
    const key = keyOf(plan, row.fields);
    if (wanted.has(key)) push(inBatch, key, { fields: row.fields, version: row.version, isDeleted: false });
  }
  return refused;
}

function newestBelow(
  version: bigint,
  inBatch: readonly Candidate[] | undefined,
  stored: readonly Candidate[] | undefined,
): Candidate | 'superseded' | null {
  let newest: Candidate | null = null;
  let above = false;
  for (const candidate of [...(inBatch ?? []), ...(stored ?? [])]) {
    if (candidate.version >= version) above = above || (stored?.includes(candidate) ?? false);
    else if (newest === null || candidate.version > newest.version) newest = candidate;
  }
  return newest ?? (above ? 'superseded' : null);
}

function linesOf(plan: TablePlan, out: RowBuffer, wanted: ReadonlySet<string>): Map<string, Candidate[]> {
  const found = new Map<string, Candidate[]>();
  let from = 0;
  while (from < out.at) {
    const line = from;
    const end = out.bytes.indexOf(10, from);
    const fields = out.bytes.toString('latin1', from, end).split('\t');
    from = end + 1;
    const key = keyOf(plan, fields);
    if (wanted.has(key))
      push(found, key, candidateOf(plan, out.lent === 0 ? fields : wholeFields(out, line, end)));
  }
  return found;
}

/** With the values that are lent. */
function wholeFields(out: RowBuffer, from: number, to: number): string[] {
  let line = '';
  for (const piece of out.pieces(from, to)) line += piece.toString('latin1');
  return line.split('\t');
}

/** Every version that landing holds under these keys, which are as `encodedKey` writes them. */
export async function readLanding(
  plan: TablePlan,
  keys: readonly string[],
  server: Server,
): Promise<Map<string, Candidate[]>> {
  const found = new Map<string, Candidate[]>();
  const { columns } = plan;
  const names = plan.relation.key.map((index) => quoteName(columns[index]!.name));
  const selected = [...columns.map(({ name }) => quoteName(name)), VERSION, IS_DELETED];
  for (const { keys: some, table: asked, params } of askedKeys(plan, keys)) {
    const keyNames = plan.relation.key.map((_, i) => `k${i}`).join(', ');
    const answer = await server.tabSeparated(
      `select asked.i, ${selected.map((name) => `landing.${name}`).join(', ')}
       from (select ${selected.join(', ')} from ${plan.landing}
             where (${names.join(', ')}) in (select ${keyNames} from ${asked})) as landing
       inner join ${asked} as asked on ${names.map((name, i) => `landing.${name} = asked.k${i}`).join(' and ')}`,
      `looking up unchanged values of ${plan.id}`,
      params,
    );
    for (const line of answer.split('\n')) {
      if (line === '') continue;
      const tab = line.indexOf('\t');
      push(found, some[Number(line.slice(0, tab))]!, candidateOf(plan, line.slice(tab + 1).split('\t')));
    }
  }
  return found;
}

function candidateOf(plan: TablePlan, fields: readonly string[]): Candidate {
  const count = plan.columns.length;
  return { fields, version: BigInt(fields[count]!), isDeleted: fields[count + 1] === '1' };
}

function keyOf(plan: TablePlan, fields: readonly string[]): string {
  return plan.relation.key.map((index) => fields[index]!).join('\t');
}

function push(map: Map<string, Candidate[]>, key: string, candidate: Candidate): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [candidate]);
  else list.push(candidate);
}

/** Writes a row from its encoded fields, one character a byte. */
export function append(out: RowBuffer, fields: readonly string[]): void {
  const line = Buffer.from(`${fields.join('\t')}\n`, 'latin1');
  out.reserve(line.length);
  line.copy(out.bytes, out.at);
  out.at += line.length;
  out.rows += 1;
}
