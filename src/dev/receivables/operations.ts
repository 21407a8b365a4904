import type { ClientBase } from 'pg';
import type { Micros } from '../instant.js';
import { cumulate, type Random } from '../random.js';
import { asTransaction, type Operation } from '../traffic.js';
import { dayOf, formatDay, type Day } from './day.js';
import { formatPrice } from './initial.js';
import {
  insertInvoices,
  insertLines,
  known,
  newInvoice,
  newLine,
  newQuantity,
  type Invoice,
} from './invoice.js';
import { newAccount, type KnownInvoice, type Ledger } from './ledger.js';
import { accountText, phone } from './texts.js';

/** What an operation is made from; it takes what it concerns from the ledger, and tells the ledger what it will have done. */
interface Scene {
  readonly ledger: Ledger;
  readonly random: Random;
  readonly today: Day;
}

type Run = Operation['run'];
/** Null where nothing suits it now: another operation is taken then. */
type Make = (scene: Scene) => Run | null;

const BATCH = 20;

/** Each kind with how often it comes, relative to the others. */
const KINDS: Readonly<Record<string, readonly [weight: number, make: Make]>> = {
  issue: [22, ({ ledger, random, today }) => issue(ledger, [newInvoice(ledger, random, today)])],
  issue_late: [4, issueLate],
  issue_batch: [0.7, issueBatch],
  pay: [22, pay],
  correct_payment: [3, correctPayment],
  payment_bounces: [3, paymentBounces],
  add_line: [8, addLine],
  correct_quantity: [12, onLine((line, { random }) => update('quantity', 'int', line, newQuantity(random)))],
  change_item: [
    5,
    onLine((line, { random, ledger }) => update('item_id', 'text', line, random.pick(ledger.skus))),
  ],
  remove_line: [5, removeLine],
  redate: [4, redate],
  reassign: [3, reassign],
  cancel: [3, cancel],
  reprice: [2, reprice],
  new_account: [1, openAccount],
  edit_account: [2, editAccount],
  correct_joining: [1, correctJoining],
  roll_back: [2, rollBack],
};
const NAMES = Object.keys(KINDS);
const WEIGHTS = cumulate(NAMES.map((name) => KINDS[name]![0]));

/** The next transaction of the sequence; moves the ledger on. */
export function nextOperation(ledger: Ledger, random: Random, at: Micros): Operation {
  const scene: Scene = { ledger, random, today: dayOf(at) };
  const kind = NAMES[random.weighted(WEIGHTS)]!;
  const run = KINDS[kind]![1](scene);
  if (run !== null) return { kind, run };
  return { kind: 'issue', run: issue(ledger, [newInvoice(ledger, random, scene.today)]) };
}

function statement(text: string, values: readonly unknown[]): Run {
  return async (client) => (await client.query({ text, values: [...values] })).rowCount ?? 0;
}

function writing(client: ClientBase, invoices: readonly Invoice[]): (() => Promise<number>)[] {
  return [
    () => insertInvoices(client, invoices),
    () => insertLines(client, invoices.flatMap(({ lines }) => lines)),
  ]; // prettier-ignore
}

function issue(ledger: Ledger, invoices: readonly Invoice[]): Run {
  for (const invoice of invoices) ledger.addInvoice(known(invoice));
  return (client) => asTransaction(client, true, writing(client, invoices));
}

/** Entered weeks after its date, sometimes with its payment. */
function issueLate({ ledger, random, today }: Scene): Run {
  const issued = today - 1 - random.below(150);
  const paid = random.chance(0.5) ? Math.min(today, issued + 20 + random.below(40)) : null;
  return issue(ledger, [{ ...newInvoice(ledger, random, issued), paid }]);
}

function issueBatch({ ledger, random, today }: Scene): Run {
  return issue(
    ledger,
    Array.from({ length: BATCH }, () => newInvoice(ledger, random, today)),
  );
}

const isOpen = ({ paid }: KnownInvoice): boolean => paid === null;
const isPaid = ({ paid }: KnownInvoice): boolean => paid !== null;

function setPaid(invoice: KnownInvoice, paid: Day | null): Run {
  invoice.paid = paid;
  return statement('update receivables.invoices set payment_dates = $2 where invoice_id = $1', [
    invoice.id,
    paid === null ? null : formatDay(paid),
  ]);
}

function pay({ ledger, random, today }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, isOpen);
  // Most are entered on the day, some when the bank statement comes.
  return invoice === undefined ? null : setPaid(invoice, today - (random.chance(0.3) ? random.below(10) : 0));
}

function correctPayment({ ledger, random, today }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, isPaid);
  return invoice === undefined
    ? null
    : setPaid(invoice, Math.min(today, invoice.issued + 5 + random.below(50)));
}

function paymentBounces({ ledger, random }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, isPaid);
  return invoice === undefined ? null : setPaid(invoice, null);
}

function addLine({ ledger, random }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, () => true);
  if (invoice === undefined) return null;
  const line = newLine(ledger, random, invoice.id);
  invoice.lines.push(line.id);
  return (client) => insertLines(client, [line]);
}

function onLine(make: (line: number, scene: Scene) => Run): Make {
  return (scene) => {
    const invoice = scene.ledger.pickInvoice(scene.random, ({ lines }) => lines.length > 0);
    return invoice === undefined ? null : make(scene.random.pick(invoice.lines), scene);
  };
}

function update(column: 'quantity' | 'item_id', type: string, line: number, value: unknown): Run {
  return statement(
    `update receivables.invoice_line_items set ${column} = $2::${type} where line_item_id = $1`,
    [line, value],
  );
}

function removeLine({ ledger, random }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, ({ lines }) => lines.length > 1);
  const line = invoice?.lines.pop();
  if (line === undefined) return null;
  return statement('delete from receivables.invoice_line_items where line_item_id = $1', [line]);
}

/** Within the 120 days or out of them, and across the thirtieth. */
function redate({ ledger, random, today }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, () => true);
  if (invoice === undefined) return null;
  invoice.issued = Math.min(today, invoice.issued + (random.chance(0.5) ? -1 : 1) * (1 + random.below(60)));
  return statement('update receivables.invoices set date_issued = $2 where invoice_id = $1', [
    invoice.id,
    formatDay(invoice.issued),
  ]);
}

function reassign({ ledger, random }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, () => true);
  if (invoice === undefined) return null;
  invoice.accountId = ledger.pickAccount(random).id;
  return statement('update receivables.invoices set account_id = $2 where invoice_id = $1', [
    invoice.id,
    invoice.accountId,
  ]);
}

function cancel({ ledger, random }: Scene): Run | null {
  const invoice = ledger.pickInvoice(random, isOpen);
  if (invoice === undefined) return null;
  ledger.removeInvoice(invoice);
  return (client) =>
    asTransaction(client, true, [
      () =>
        statement('delete from receivables.invoice_line_items where invoice_id = $1', [invoice.id])(client),
      () => statement('delete from receivables.invoices where invoice_id = $1', [invoice.id])(client),
    ]);
}

/** Changes what every invoice with the item is worth. */
function reprice({ ledger, random }: Scene): Run {
  const cents = 100 + Math.floor(Math.exp(random.between(4, 13)));
  return statement('update receivables.skus set item_retail_price = $2 where item_id = $1', [
    random.pick(ledger.skus),
    formatPrice(cents),
  ]);
}

function openAccount({ ledger, random, today }: Scene): Run {
  const account = newAccount(ledger.nextAccountId++, random);
  ledger.addAccount(account);
  const { company, address, person, phone: number, gender } = accountText(random);
  return statement(
    `insert into receivables.accounts
       (account_id, company_name, company_address, contact_person, contact_phone, gender, joining_date)
     values ($1, $2, $3, $4, $5, $6, $7)`,
    [account.id, company, address, person, number, gender, formatDay(today)],
  );
}

function editAccount({ ledger, random }: Scene): Run {
  return statement('update receivables.accounts set contact_phone = $2 where account_id = $1', [
    ledger.pickAccount(random).id,
    random.chance(0.1) ? null : phone(random),
  ]);
}

function correctJoining({ ledger, random }: Scene): Run {
  return statement(
    'update receivables.accounts set joining_date = $2 where account_id = $1',
    // Fixed ends, so that running it again gives the same.
    [ledger.pickAccount(random).id, formatDay(17_000 + random.below(2_000))],
  );
}

/** Written, and taken back: nobody may ever see it. */
function rollBack({ ledger, random, today }: Scene): Run {
  const invoices = [newInvoice(ledger, random, today), newInvoice(ledger, random, today)];
  return (client) => asTransaction(client, false, writing(client, invoices));
}
