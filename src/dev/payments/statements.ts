import type { ClientBase } from 'pg';

import { formatInstant } from '../instant.js';
import { asTransaction } from '../traffic.js';
import type { Operation, Statement } from './operation.js';
import { formatCents } from './payment.js';

/**
 * Runs one operation as one transaction and resolves to the number of rows it changed (0 when it was rolled back).
 * Every value is bound; nothing is put into SQL text.
 */
export async function executeOperation(client: ClientBase, operation: Operation): Promise<number> {
  const [only] = operation.statements;
  if (operation.commit && operation.statements.length === 1 && only !== undefined) {
    return executeStatement(client, only);
  }
  return asTransaction(
    client,
    operation.commit,
    operation.statements.map((statement) => () => executeStatement(client, statement)),
  );
}

async function executeStatement(client: ClientBase, statement: Statement): Promise<number> {
  const { text, values } = sqlOf(statement);
  return (await client.query({ text, values })).rowCount ?? 0;
}

function sqlOf(statement: Statement): { text: string; values: unknown[] } {
  switch (statement.type) {
    case 'insert_payments': {
      const { payments } = statement;
      return {
        text: `insert into public.payments
                 (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
               select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::numeric[], $5::text[], $6::text[],
                                    $7::timestamptz[], $8::timestamptz[])`,
        values: [
          payments.map((payment) => payment.id),
          payments.map((payment) => payment.merchantId),
          payments.map((payment) => payment.customerId),
          payments.map((payment) => formatCents(payment.cents)),
          payments.map((payment) => payment.method),
          payments.map((payment) => payment.status),
          payments.map((payment) => formatInstant(payment.paidAt)),
          payments.map((payment) => formatInstant(payment.ingestedAt)),
        ],
      };
    }
    case 'set_status':
      return {
        text: 'update public.payments set status = $2 where payment_id = $1',
        values: [statement.id, statement.status],
      };
    case 'set_amount':
      return {
        text: 'update public.payments set amount = $2 where payment_id = $1',
        values: [statement.id, formatCents(statement.cents)],
      };
    case 'set_date':
      return {
        text: 'update public.payments set payment_date = $2 where payment_id = $1',
        values: [statement.id, formatInstant(statement.paidAt)],
      };
    case 'set_merchant':
      return {
        text: 'update public.payments set merchant_id = $2 where payment_id = $1',
        values: [statement.id, statement.newMerchantId],
      };
    case 'delete_payment':
      return { text: 'delete from public.payments where payment_id = $1', values: [statement.id] };
    case 'settle_merchant':
      return {
        text: `update public.payments set status = $2 where merchant_id = $1 and status = 'Pending'`,
        values: [statement.merchantId, statement.status],
      };
    case 'insert_merchant': {
      const { profile, text, ingestedAt } = statement;
      return {
        text: `insert into public.merchants (merchant_id, name, address, phone, email, ingestion_date)
               values ($1, $2, $3, $4, $5, $6)`,
        values: [profile.id, text.name, text.address, text.phone, text.email, formatInstant(ingestedAt)],
      };
    }
    case 'edit_merchant':
      return {
        text:
          statement.column === 'address'
            ? 'update public.merchants set address = $2 where merchant_id = $1'
            : 'update public.merchants set phone = $2 where merchant_id = $1',
        values: [statement.merchantId, statement.value],
      };
  }
}
