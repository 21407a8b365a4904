import { DAY, type Micros } from '../instant.js';
import type { Random } from '../random.js';
import {
  amount,
  type Case,
  claim,
  decision,
  generateCase,
  invoice,
  item,
  type NextIds,
  price,
  spell,
  stamp,
  TABLES,
} from './case.js';
import { insert, type Statement } from './statements.js';

/** What the traffic remembers of the tables, bounded: the latest rows, which change most. Ids may be of rows that are gone by now. */
export interface Known {
  readonly ids: NextIds;
  readonly claims: { readonly id: number; readonly treatmentId: number }[];
  readonly invoices: number[];
  readonly items: number[];
}

export interface Planned {
  readonly kind: string;
  readonly statements: readonly Statement[];
  readonly commit: boolean;
}

const REMEMBERED_MAX = 4_000;
/** A treatment that there never was. */
const NOBODYS_MAX = 1_000;

type Make = (known: Known, random: Random, at: Micros) => readonly Statement[];

/** What happens, how often in relation to the others, and by which statements. */
const OPERATIONS: readonly (readonly [kind: string, weight: number, make: Make])[] = [
  ['open_case', 24, openCase],
  ['submit', 10, submit],
  ['decide', 16, decide],
  ['add_item', 8, addItem],
  ['correct_item', 8, correctItem],
  ['withdraw_item', 4, withdrawItem],
  ['correct_claim', 8, correctClaim],
  ['clear_amount', 1, (known, random) => [update('claims', 'amount', null, pick(known, random).id)]],
  ['change_currency', 1, changeCurrency],
  ['second_invoice', 3, secondInvoice],
  ['second_claim', 2, secondClaim],
  ['move_claim', 2, moveClaim],
  ['correct_date', 4, correctDate],
  ['lose_date', 2, loseDate],
  ['expire', 2, expire],
  ['delete_claim', 2, (known, random) => [remove('claims', pick(known, random).id)]],
  ['delete_treatment', 1, (known, random) => [remove('treatments', pick(known, random).treatmentId)]],
  ['delete_invoice', 1, deleteInvoice],
  ['close_many', 1, closeMany],
];
const KINDS = OPERATIONS.flatMap((operation) => Array.from({ length: operation[1] }, () => operation));
const ROLLED_BACK = 0.02;

/** The next transaction, and what is known after it. */
export function nextOperation(known: Known, random: Random, at: Micros): Planned {
  const [kind, , make] = known.claims.length === 0 ? OPERATIONS[0]! : random.pick(KINDS);
  const commit = !random.chance(ROLLED_BACK);
  return { kind: commit ? kind : 'roll_back', statements: make(known, random, at), commit };
}

/** Takes up the rows of a case, which may be changed from then on. */
export function remember(known: Known, { claims, invoices, invoice_items: items }: Case): void {
  for (const { id, treatment_id: treatmentId } of claims)
    put(known.claims, { id: Number(id), treatmentId: Number(treatmentId) });
  for (const { id } of invoices) put(known.invoices, Number(id));
  for (const { id } of items) put(known.items, Number(id));
}

function put<T>(memory: T[], entry: T): void {
  memory.push(entry);
  if (memory.length > REMEMBERED_MAX) memory.splice(0, REMEMBERED_MAX / 2);
}

function pick(known: Known, random: Random): Known['claims'][number] {
  return random.pick(known.claims);
}

/** An operation that is rolled back leaves ids behind that no row has: changing them changes nothing. */
function openCase(known: Known, random: Random, at: Micros): Statement[] {
  const opened = generateCase(known.ids, at, at, random);
  remember(known, opened);
  return TABLES.flatMap((table) => (opened[table].length === 0 ? [] : [insert(table, opened[table])]));
}

function submit(known: Known, random: Random, at: Micros): Statement[] {
  const { id, treatmentId } = pick(known, random);
  return [
    {
      text: 'update claims.treatments set status = $2, date_submitted = $3, date_modified = $3 where id = $1',
      values: [treatmentId, spell('Submitted', random), stamp(at)],
    },
    setStatus(id, spell(random.chance(0.1) ? 'ReSubmitted' : 'Submitted', random), at),
  ];
}

function decide(known: Known, random: Random, at: Micros): Statement[] {
  const { id, treatmentId } = pick(known, random);
  return [
    {
      text: 'update claims.treatments set status = $2, date_modified = $3 where id = $1',
      values: [treatmentId, spell('Closed', random), stamp(at)],
    },
    setStatus(id, spell(decision(random), random), at),
  ];
}

function setStatus(id: number, status: string, at: Micros): Statement {
  return {
    text: 'update claims.claims set status = $2, date_modified = $3 where id = $1',
    values: [id, status, stamp(at)],
  };
}

function addItem(known: Known, random: Random, at: Micros): Statement[] {
  if (known.invoices.length === 0) return openCase(known, random, at);
  const row = item(known.ids, random.pick(known.invoices), at, random);
  put(known.items, Number(row['id']));
  return [insert('invoice_items', [row])];
}

function correctItem(known: Known, random: Random, at: Micros): Statement[] {
  if (known.items.length === 0) return openCase(known, random, at);
  return [update('invoice_items', 'amount', amount(price(random), random), random.pick(known.items))];
}

function withdrawItem(known: Known, random: Random, at: Micros): Statement[] {
  if (known.items.length === 0) return openCase(known, random, at);
  const status = spell(random.pick(['Deleted', 'Replaced', 'Rejected', 'Approved']), random);
  return [update('invoice_items', 'status', status, random.pick(known.items))];
}

function correctClaim(known: Known, random: Random): Statement[] {
  return [update('claims', 'amount', amount(price(random), random), pick(known, random).id)];
}

function changeCurrency(known: Known, random: Random): Statement[] {
  return [update('claims', 'currency', random.pick(['KES', 'TZS', null]), pick(known, random).id)];
}

function secondInvoice(known: Known, random: Random, at: Micros): Statement[] {
  const row = invoice(known.ids, pick(known, random).treatmentId, at, random);
  const of = item(known.ids, Number(row['id']), at, random);
  put(known.invoices, Number(row['id']));
  put(known.items, Number(of['id']));
  return [insert('invoices', [row]), insert('invoice_items', [of])];
}

function secondClaim(known: Known, random: Random, at: Micros): Statement[] {
  const { treatmentId } = pick(known, random);
  const dates = { created: at, modified: at, status: 'Submitted' };
  const row = claim(known.ids, treatmentId, 40, price(random), dates, random);
  put(known.claims, { id: Number(row['id']), treatmentId });
  return [insert('claims', [row])];
}

/** To the treatment that was meant, to one that there is not, or to none. */
function moveClaim(known: Known, random: Random): Statement[] {
  const point = random.next();
  const to =
    point < 0.7 ? pick(known, random).treatmentId : point < 0.9 ? 1 + random.below(NOBODYS_MAX) : null;
  return [update('claims', 'treatment_id', to, pick(known, random).id)];
}

/** Into an earlier month, which rewrites the history of approvals. */
function correctDate(known: Known, random: Random, at: Micros): Statement[] {
  const earlier = at - Math.round(random.between(1, 400) * DAY);
  return [update('claims', 'date_modified', stamp(earlier), pick(known, random).id)];
}

function loseDate(known: Known, random: Random): Statement[] {
  const { id, treatmentId } = pick(known, random);
  return random.chance(0.5)
    ? [update('claims', random.pick(['date_created', 'date_modified']), null, id)]
    : [
        update(
          'treatments',
          random.pick(['date_submitted', 'date_treatment', 'date_modified']),
          null,
          treatmentId,
        ),
      ];
}

/** Beyond ten years: gone at once, and back when the next change of status brings a new date. */
function expire(known: Known, random: Random, at: Micros): Statement[] {
  const { id, treatmentId } = pick(known, random);
  const longAgo = stamp(at - Math.round(random.between(3_700, 4_000) * DAY));
  return random.chance(0.5)
    ? [update('claims', 'date_modified', longAgo, id)]
    : [update('treatments', 'date_modified', longAgo, treatmentId)];
}

function deleteInvoice(known: Known, random: Random, at: Micros): Statement[] {
  if (known.invoices.length === 0) return openCase(known, random, at);
  return [remove('invoices', random.pick(known.invoices))];
}

/** The end of a day at a program: everything handed in lately is approved in one transaction. */
function closeMany(known: Known, _random: Random, at: Micros): Statement[] {
  const lately = known.claims.slice(-200).map(({ id }) => id);
  return [
    {
      text: `update claims.claims set status = 'Approved', date_modified = $2 where id = any($1::bigint[]) and lower(status) = 'submitted'`,
      values: [lately, stamp(at)],
    },
  ];
}

type Column = 'amount' | 'currency' | 'status' | 'treatment_id' | 'program_id' | `date_${string}`;

function update(table: keyof Case, column: Column, value: string | number | null, id: number): Statement {
  return { text: `update claims.${table} set ${column} = $2 where id = $1`, values: [id, value] };
}

function remove(table: keyof Case, id: number): Statement {
  return { text: `delete from claims.${table} where id = $1`, values: [id] };
}
