import type { ClientBase } from 'pg';

import { DAY, formatInstant, type Micros, MINUTE } from '../instant.js';
import type { Random } from '../random.js';
import { asTransaction } from '../traffic.js';
import { category, spend, spendRate, type TransactionRow } from './customers.js';

/** What the traffic remembers of a transaction. It may be gone by now: then changing it changes nothing. */
export interface KnownTransaction {
  readonly id: number;
  readonly customerId: number;
  readonly amount: string;
}

/** What the generator knows; bounded. */
export interface Known {
  nextId: number;
  customers: number;
  readonly transactions: KnownTransaction[];
}

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

export interface Planned {
  readonly kind: string;
  readonly statements: readonly Statement[];
  readonly commit: boolean;
}

const REMEMBERED_MAX = 6_000;
const ROLLED_BACK = 0.02;
const NEW_CUSTOMER = 0.05;

type Make = (known: Known, random: Random, at: Micros) => Statement[];

/** What happens, how often in relation to the others, and by which statements. */
const OPERATIONS: readonly (readonly [kind: string, weight: number, make: Make])[] = [
  ['buy', 30, (known, random, at) => [insert([bought(known, random, at)])]],
  ['basket', 4, basket],
  ['refund', 3, refund],
  ['approve', 14, (known, random, at) => [setStatus(pick(known, random), 'approved', at)]],
  ['decline', 4, (known, random, at) => [setStatus(pick(known, random), 'declined', at)]],
  ['reverse', 6, reverse],
  ['reverse_early', 3, (known, random, at) => reverse(known, random, at).slice(0, 1)],
  ['reverse_wrongly', 2, reverseWrongly],
  ['status_alone', 1, (known, random, at) => [setStatus(pick(known, random), 'reversed', at)]],
  ['backdate', 6, (known, random, at) => [insert([bought(known, random, earlier(at, random))])]],
  ['correct_date', 5, correctDate],
  ['correct_amount', 5, correctAmount],
  ['correct_category', 3, correctCategory],
  ['correct_customer', 2, correctCustomer],
  ['delete', 3, (known, random) => [remove(pick(known, random))]],
  ['import_file', 1, importFile],
];
const KINDS = OPERATIONS.flatMap((operation) => Array.from({ length: operation[1] }, () => operation));

/** The next transaction of the source, and what is known after it. */
export function nextOperation(known: Known, random: Random, at: Micros): Planned {
  const [kind, , make] = known.transactions.length === 0 ? OPERATIONS[0]! : random.pick(KINDS);
  const commit = !random.chance(ROLLED_BACK);
  return { kind: commit ? kind : 'roll_back', statements: make(known, random, at), commit };
}

/** Runs it as one transaction and resolves to the rows changed; 0 where it is rolled back. */
export async function runOperation(client: ClientBase, { statements, commit }: Planned): Promise<number> {
  const run = async ({ text, values }: Statement): Promise<number> =>
    (await client.query({ text, values: [...values] })).rowCount ?? 0;
  const [only] = statements;
  if (commit && statements.length === 1 && only !== undefined) return run(only);
  return asTransaction(
    client,
    commit,
    statements.map((statement) => () => run(statement)),
  );
}

export function insert(rows: readonly TransactionRow[]): Statement {
  return {
    text: 'insert into spending.transactions select * from jsonb_populate_recordset(null::spending.transactions, $1::jsonb)',
    values: [JSON.stringify(rows)],
  };
}

function pick(known: Known, random: Random): KnownTransaction {
  return random.pick(known.transactions);
}

function row(known: Known, given: Omit<TransactionRow, 'transaction_id'>): TransactionRow {
  const id = known.nextId++;
  known.transactions.push({ id, customerId: given.customer_id, amount: given.transaction_amount });
  if (known.transactions.length > REMEMBERED_MAX) known.transactions.splice(0, REMEMBERED_MAX / 2);
  return { transaction_id: id, ...given };
}

function bought(known: Known, random: Random, at: Micros, customer = buyer(known, random)): TransactionRow {
  return row(known, {
    customer_id: customer,
    transaction_date: formatInstant(at),
    transaction_amount: spend(spendRate(random), random),
    product_category: category(random),
    transaction_type: random.chance(0.92) ? 'purchase' : random.pick(['fee', 'withdrawal']),
    status: random.chance(0.6) ? 'pending' : 'approved',
    reverses: null,
    last_modified: formatInstant(at),
  });
}

function buyer(known: Known, random: Random): number {
  return random.chance(NEW_CUSTOMER) ? ++known.customers : 1 + random.below(Math.max(1, known.customers));
}

function basket(known: Known, random: Random, at: Micros): Statement[] {
  const customer = buyer(known, random);
  const count = 2 + random.below(5);
  return [insert(Array.from({ length: count }, () => bought(known, random, at, customer)))];
}

/** Money back without taking anything back: a transaction of its own that counts. */
function refund(known: Known, random: Random, at: Micros): Statement[] {
  const { customerId, amount } = pick(known, random);
  const back = negative(amount, random.chance(0.5) ? 1 : 0.5);
  return [insert([compensation(known, random, at, customerId, back, 'refund', null)])];
}

/** The reversal, and the status of what it takes back. */
function reverse(known: Known, random: Random, at: Micros): Statement[] {
  const original = pick(known, random);
  const back = negative(original.amount, random.chance(0.1) ? 0.5 : 1);
  return [
    insert([compensation(known, random, at, original.customerId, back, 'reversal', original.id)]),
    setStatus(original, 'reversed', at),
  ];
}

/** Of a transaction that there is not, or not of this customer. */
function reverseWrongly(known: Known, random: Random, at: Micros): Statement[] {
  const { id, amount } = pick(known, random);
  const names = random.chance(0.5) ? id : 900_000_000 + random.below(1_000);
  return [
    insert([compensation(known, random, at, buyer(known, random), negative(amount, 1), 'reversal', names)]),
  ];
}

function compensation(
  known: Known,
  random: Random,
  at: Micros,
  customer: number,
  amount: string,
  type: string,
  reverses: number | null,
): TransactionRow {
  return row(known, {
    customer_id: customer,
    transaction_date: formatInstant(at),
    transaction_amount: amount,
    product_category: category(random),
    transaction_type: type,
    status: random.chance(0.85) ? 'approved' : random.pick(['pending', 'declined', 'reversed']),
    reverses,
    last_modified: formatInstant(at),
  });
}

function negative(amount: string, share: number): string {
  return (-Number(amount) * share).toFixed(4);
}

function setStatus({ id }: KnownTransaction, status: string, at: Micros): Statement {
  return {
    text: 'update spending.transactions set status = $2, last_modified = $3 where transaction_id = $1',
    values: [id, status, formatInstant(at)],
  };
}

function correctDate(known: Known, random: Random, at: Micros): Statement[] {
  return [
    {
      text: 'update spending.transactions set transaction_date = $2, last_modified = $3 where transaction_id = $1',
      values: [pick(known, random).id, formatInstant(earlier(at, random)), formatInstant(at)],
    },
  ];
}

function correctAmount(known: Known, random: Random, at: Micros): Statement[] {
  return [
    {
      text: 'update spending.transactions set transaction_amount = $2, last_modified = $3 where transaction_id = $1',
      values: [pick(known, random).id, spend(spendRate(random), random), formatInstant(at)],
    },
  ];
}

function correctCategory(known: Known, random: Random, at: Micros): Statement[] {
  return [
    {
      text: 'update spending.transactions set product_category = $2, last_modified = $3 where transaction_id = $1',
      values: [pick(known, random).id, category(random), formatInstant(at)],
    },
  ];
}

function correctCustomer(known: Known, random: Random, at: Micros): Statement[] {
  return [
    {
      text: 'update spending.transactions set customer_id = $2, last_modified = $3 where transaction_id = $1',
      values: [pick(known, random).id, buyer(known, random), formatInstant(at)],
    },
  ];
}

function remove({ id }: KnownTransaction): Statement {
  return { text: 'delete from spending.transactions where transaction_id = $1', values: [id] };
}

/** What a partner sends at the end of a week: many customers, all of it in the past. */
function importFile(known: Known, random: Random, at: Micros): Statement[] {
  const count = 50 + random.below(100);
  return [insert(Array.from({ length: count }, () => bought(known, random, earlier(at, random))))];
}

/** Some minutes ago, some months, or more than a year. */
function earlier(at: Micros, random: Random): Micros {
  const reach = random.pick([60 * MINUTE, 20 * DAY, 200 * DAY, 500 * DAY]);
  return at - Math.round(random.next() * reach);
}
