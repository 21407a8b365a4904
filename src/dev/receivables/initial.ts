import type { ClientBase } from 'pg';
import { reserveIds } from '../id-block.js';
import { Random } from '../random.js';
import { formatDay, type Day } from './day.js';
import { insertInvoices, insertLines, newInvoice } from './invoice.js';
import { daysToPay, Ledger, newAccount, type KnownAccount } from './ledger.js';
import { accountText, skuText } from './texts.js';

const ACCOUNTS = 200;
const SKUS = 100;
/** Invoices of so many days; accounts joined up to three years before. */
const DAYS = 400;
const CHUNK = 1_000;
/** Of a hundred invoices so many are not paid for a long time. */
const NEVER_PAID = 0.015;

/** Fills the tables with `count` invoices, issued and paid until `today`, in one transaction. */
export async function insertInitialData(
  client: ClientBase,
  seed: number,
  today: Day,
  count: number,
): Promise<void> {
  const random = new Random(seed, 2);
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => newAccount(index + 1, random));
  await client.query('begin');
  try {
    await insertAccounts(client, accounts, random, today);
    const skus = await insertSkus(client, random);
    const ledger = new Ledger({ accounts, skus, nextInvoiceId: 1, nextLineId: 1 });
    const invoices = Array.from({ length: count }, (_, index) => {
      const issued = today - DAYS + Math.floor((index * (DAYS + 1)) / count);
      const account = ledger.pickAccount(random);
      const paid = issued + daysToPay(account, random);
      const isPaid = paid <= today && !random.chance(NEVER_PAID);
      return { ...newInvoice(ledger, random, issued, account.id), paid: isPaid ? paid : null };
    });
    for (let from = 0; from < count; from += CHUNK) {
      const chunk = invoices.slice(from, from + CHUNK);
      await insertInvoices(client, chunk);
      await insertLines(client, chunk.flatMap(({ lines }) => lines)); // prettier-ignore
    }
    // A program of somebody's own that begins now gets ids behind these.
    await reserveIds(client, 'receivables.invoice_line_items', 'line_item_id');
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
  await client.query('analyze receivables.accounts, receivables.skus, receivables.invoices, receivables.invoice_line_items'); // prettier-ignore
}

async function insertAccounts(
  client: ClientBase,
  accounts: readonly KnownAccount[],
  random: Random,
  today: Day,
): Promise<void> {
  const texts = accounts.map(() => accountText(random));
  await client.query({
    text: `insert into receivables.accounts
             (account_id, company_name, company_address, contact_person, contact_phone, gender, joining_date)
           select * from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[])`,
    values: [
      accounts.map(({ id }) => id),
      texts.map(({ company }) => company),
      texts.map(({ address }) => address),
      texts.map(({ person }) => person),
      texts.map((text) => text.phone),
      texts.map(({ gender }) => gender),
      accounts.map(() => formatDay(today - DAYS - random.below(3 * 365))),
    ],
  });
}

async function insertSkus(client: ClientBase, random: Random): Promise<string[]> {
  const texts = Array.from({ length: SKUS }, (_, index) => skuText(index + 1, random));
  const cents = texts.map(() => 100 + Math.floor(Math.exp(random.between(4, 13))));
  await client.query({
    text: `insert into receivables.skus (item_id, item_name, item_description, item_cost_price, item_retail_price)
           select * from unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::numeric[])`,
    values: [
      texts.map(({ id }) => id),
      texts.map(({ name }) => name),
      texts.map(({ description }) => description),
      cents.map((price) => formatPrice(Math.floor(price * 0.6))),
      cents.map(formatPrice),
    ],
  });
  return texts.map(({ id }) => id);
}

/** `120.50`, exactly. */
export function formatPrice(cents: number): string {
  return `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
}

/** What the traffic needs to know of tables that hold rows already. */
export async function readLedger(client: ClientBase, seed: number): Promise<Ledger> {
  const random = new Random(seed, 4);
  const accounts = await client.query<{ id: number }>(
    'select account_id as id from receivables.accounts order by account_id',
  );
  const skus = await client.query<{ id: string }>(
    'select item_id as id from receivables.skus order by item_id',
  );
  const last = await client.query<{ id: number }>(
    'select coalesce(max(invoice_id), 0) as id from receivables.invoices',
  );
  const ledger = new Ledger({
    accounts: accounts.rows.map(({ id }) => newAccount(id, random)),
    skus: skus.rows.map(({ id }) => id),
    nextInvoiceId: (last.rows[0]?.id ?? 0) + 1,
    nextLineId: await reserveIds(client, 'receivables.invoice_line_items', 'line_item_id'),
  });
  const invoices = await client.query<{
    id: number;
    account: number;
    issued: number;
    paid: number | null;
    lines: string[];
  }>(
    `select invoice_id as id, account_id as account, date_issued - date '1970-01-01' as issued,
            payment_dates - date '1970-01-01' as paid,
            array(select line_item_id::text from receivables.invoice_line_items as line
                  where line.invoice_id = invoice.invoice_id order by 1) as lines
     from receivables.invoices as invoice
     where isfinite(date_issued) and isfinite(coalesce(payment_dates, date_issued))
     order by invoice_id desc limit 4000`,
  );
  for (const { id, account, issued, paid, lines } of invoices.rows.reverse())
    ledger.addInvoice({ id, accountId: account, issued, paid, lines: lines.map(Number) });
  return ledger;
}
