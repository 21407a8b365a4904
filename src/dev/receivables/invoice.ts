import type { ClientBase } from 'pg';
import type { Random } from '../random.js';
import { formatDay, type Day } from './day.js';
import type { KnownInvoice, Ledger } from './ledger.js';

/** A row of receivables.invoice_line_items. */
export interface Line {
  readonly id: number;
  readonly invoiceId: number;
  readonly itemId: string;
  readonly quantity: number;
}

/** A row of receivables.invoices, with its lines. */
export interface Invoice {
  readonly id: number;
  readonly accountId: number;
  readonly issued: Day;
  readonly paid: Day | null;
  readonly lines: readonly Line[];
}

const LINES_MAX = 8;

/** A new invoice; takes its ids from the ledger, which does not know the invoice yet. */
export function newInvoice(ledger: Ledger, random: Random, issued: Day, accountId?: number): Invoice {
  const id = ledger.nextInvoiceId++;
  const lines = Array.from({ length: 1 + random.below(LINES_MAX) }, () => newLine(ledger, random, id));
  return { id, accountId: accountId ?? ledger.pickAccount(random).id, issued, paid: null, lines };
}

export function newLine(ledger: Ledger, random: Random, invoiceId: number): Line {
  return {
    id: ledger.nextLineId++,
    invoiceId,
    itemId: random.pick(ledger.skus),
    quantity: newQuantity(random),
  };
}

/** A few pieces as a rule; now and then some are taken back. */
export function newQuantity(random: Random): number {
  return random.chance(0.02) ? -1 - random.below(2) : 1 + random.below(6);
}

export function known({ id, accountId, issued, paid, lines }: Invoice): KnownInvoice {
  return { id, accountId, issued, paid, lines: lines.map((line) => line.id) };
}

export async function insertInvoices(client: ClientBase, invoices: readonly Invoice[]): Promise<number> {
  const result = await client.query({
    text: `insert into receivables.invoices (invoice_id, account_id, date_issued, payment_dates)
           select * from unnest($1::int[], $2::int[], $3::date[], $4::date[])`,
    values: [
      invoices.map(({ id }) => id),
      invoices.map(({ accountId }) => accountId),
      invoices.map(({ issued }) => formatDay(issued)),
      invoices.map(({ paid }) => (paid === null ? null : formatDay(paid))),
    ],
  });
  return result.rowCount ?? 0;
}

export async function insertLines(client: ClientBase, lines: readonly Line[]): Promise<number> {
  const result = await client.query({
    text: `insert into receivables.invoice_line_items (line_item_id, invoice_id, item_id, quantity)
           select * from unnest($1::bigint[], $2::int[], $3::text[], $4::int[])`,
    values: [
      lines.map(({ id }) => id),
      lines.map(({ invoiceId }) => invoiceId),
      lines.map(({ itemId }) => itemId),
      lines.map(({ quantity }) => quantity),
    ],
  });
  return result.rowCount ?? 0;
}
