import type { ClientBase } from 'pg';

import { formatInstant, type Micros } from '../instant.js';
import type { Bank, Consumer, Merchant } from './parties.js';
import { formatAmount, type Transaction } from './transaction.js';

/** One statement, as data. Running it again after a lost answer changes nothing, or fails as a key that is there already. */
export type Statement =
  | { readonly type: 'insert'; readonly transactions: readonly Transaction[] }
  | { readonly type: 'update'; readonly id: number; readonly set: Readonly<Partial<Omit<Transaction, 'id'>>> }
  | { readonly type: 'delete'; readonly id: number }
  | { readonly type: 'insert_consumers'; readonly consumers: readonly Consumer[] }
  | { readonly type: 'insert_merchants'; readonly merchants: readonly Merchant[] }
  | { readonly type: 'insert_banks'; readonly banks: readonly Bank[] }
  | { readonly type: 'set_prefered'; readonly consumerId: number; readonly merchants: readonly number[] }
  | { readonly type: 'rename_bank'; readonly bankId: number; readonly name: string }
  | { readonly type: 'delete_consumer'; readonly consumerId: number };

const COLUMNS = {
  id: 'id',
  amount: 'amount',
  creationDate: 'creation_date',
  executionDate: 'execution_date',
  label: 'label',
  countryCode: 'country_code',
  consumerId: 'consumer_id',
  bankId: 'bank_id',
  merchantId: 'merchant_id',
} as const satisfies Record<keyof Transaction, string>;

const FIELDS = Object.keys(COLUMNS) as (keyof Transaction)[];

/** Resolves to the number of rows changed. Every value is bound; nothing is put into SQL text. */
export async function execute(client: ClientBase, statement: Statement): Promise<number> {
  const { text, values } = sqlOf(statement);
  return (await client.query({ text, values })).rowCount ?? 0;
}

function sqlOf(statement: Statement): { text: string; values: unknown[] } {
  switch (statement.type) {
    case 'insert':
      return {
        text: `insert into banking.transactions (${FIELDS.map((field) => COLUMNS[field]).join(', ')})
               select * from unnest($1::bigint[], $2::numeric[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[],
                                    $7::integer[], $8::integer[], $9::integer[])`,
        values: FIELDS.map((field) =>
          statement.transactions.map((transaction) => printed(transaction, field)),
        ),
      };
    case 'update': {
      const fields = FIELDS.filter((field) => field in statement.set);
      return {
        text: `update banking.transactions set ${fields
          .map((field, index) => `${COLUMNS[field]} = $${index + 2}`)
          .join(', ')} where id = $1`,
        values: [statement.id, ...fields.map((field) => printed(statement.set, field))],
      };
    }
    case 'delete':
      return { text: 'delete from banking.transactions where id = $1', values: [statement.id] };
    case 'insert_consumers': {
      const { consumers } = statement;
      return {
        text: `insert into banking.consumers (id, name, prefered_merchants)
               select id, name, string_to_array(prefered, ',')::integer[]
               from unnest($1::integer[], $2::text[], $3::text[]) as given (id, name, prefered)`,
        values: [
          consumers.map(({ id }) => id),
          consumers.map(({ name }) => name),
          consumers.map(({ preferedMerchants }) => preferedMerchants.join(',')),
        ],
      };
    }
    case 'insert_merchants':
      return insertNamed('merchants', statement.merchants);
    case 'insert_banks':
      return insertNamed('banks', statement.banks);
    case 'set_prefered':
      return {
        text: 'update banking.consumers set prefered_merchants = $2 where id = $1',
        values: [statement.consumerId, statement.merchants],
      };
    case 'rename_bank':
      return {
        text: 'update banking.banks set name = $2 where id = $1',
        values: [statement.bankId, statement.name],
      };
    case 'delete_consumer':
      return { text: 'delete from banking.consumers where id = $1', values: [statement.consumerId] };
  }
}

function insertNamed(
  table: 'merchants' | 'banks',
  parties: readonly (Merchant | Bank)[],
): { text: string; values: unknown[] } {
  return {
    text: `insert into banking.${table} (id, name, zipcode) select * from unnest($1::integer[], $2::text[], $3::text[])`,
    values: [
      parties.map(({ id }) => id),
      parties.map(({ name }) => name),
      parties.map(({ zipcode }) => zipcode),
    ],
  };
}

/** As Postgres reads it. */
function printed(transaction: Partial<Transaction>, field: keyof Transaction): string | number | null {
  const value = transaction[field] ?? null;
  if (value === null) return null;
  if (field === 'amount') return formatAmount(value as number);
  return field === 'creationDate' || field === 'executionDate' ? formatInstant(value as Micros) : value;
}
