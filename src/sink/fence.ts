import { randomUUID } from 'node:crypto';
import { quoteName, quoteString } from './identifier.js';

/** Which of the claims a statement or a table is of, and how many tables had been made when it was sent or made. */
export interface Moment {
  readonly epoch: number;
  readonly made: number;
}

const ID_PREFIX = 'walhouse-';
/** The constraint that turns late inserts away, followed by its epoch; on every table that Walhouse inserts into. */
const FENCE_PREFIX = 'walhouse_owner_';
const FENCES = /\bCONSTRAINT `?walhouse_owner_(\d+)`?/gi;
/** The constraint that a table keeps for as long as it is there: nothing enters it that was sent before it was made. */
const MADE = 'walhouse_made';

/** An id for a statement that writes, unlike all others. `database`: the one that people query. */
export function queryIdOf({ epoch, made }: Moment, database: string): string {
  return `${ID_PREFIX}${epoch}-${made}-${database}-${randomUUID()}`;
}

export function epochOf(queryId: string): number {
  return Number.parseInt(queryId.slice(ID_PREFIX.length), 10);
}

/** A condition on `system.processes`: a statement that writes there and is of an earlier epoch. */
export function isEarlier(epoch: number, database: string): string {
  return `match(query_id, ${quoteString(`^${ID_PREFIX}[0-9]+-[0-9]+-${database}-`)}) and ${partOf('query_id', 2)} < ${epoch}`;
}

/** For `create table`: what was sent before this moment does not enter it. Statements that are nobody's (a person's, a command's) do. */
export function constraintsOf({ epoch, made }: Moment): readonly string[] {
  const sent = `(${partOf('queryID()', 2)}, ${partOf('queryID()', 3)})`;
  return [ofEpoch(epoch), `constraint ${MADE} check ${IS_NOBODYS} or ${sent} >= (${epoch}, ${made})`];
}

/** For `alter table`: puts up the fence of an epoch in the place of those of `earlier` ones, which may be gone. */
export function raiseFence(epoch: number, earlier: readonly number[] = []): string {
  const drops = earlier.map((before) => `drop constraint if exists ${nameOf(before)}`);
  return [...drops, `add ${ofEpoch(epoch)}`].join(', ');
}

/** For `alter table`: fails where the fence is another epoch's. */
export function sameFence(epoch: number): string {
  return `drop constraint ${nameOf(epoch)}, add ${ofEpoch(epoch)}`;
}

/** The epochs of the fences that a table has. */
export function fencesIn(createTable: string): number[] {
  return [...createTable.matchAll(FENCES)].map(([, epoch]) => Number(epoch));
}

const IS_NOBODYS = `not startsWith(queryID(), '${ID_PREFIX}')`;

function ofEpoch(epoch: number): string {
  return `constraint ${nameOf(epoch)} check ${IS_NOBODYS} or ${partOf('queryID()', 2)} >= ${epoch}`;
}

function nameOf(epoch: number): string {
  return quoteName(`${FENCE_PREFIX}${epoch}`);
}

/** A number from a statement's id. */
function partOf(id: string, place: number): string {
  return `toUInt64OrZero(splitByChar('-', ${id})[${place}])`;
}
