import type { ClientBase } from 'pg';

import { type Transaction, UNIT } from './transaction.js';

/** Transactions that are remembered from a table that has rows already. */
const KNOWN_ROWS = 3_000;

export interface Stored {
  /** The highest ids; 0 where there is none. */
  readonly consumers: number;
  readonly merchants: number;
  readonly banks: number;
  readonly lastTransaction: number;
}

/** How far ids have got. */
export async function readSize(client: ClientBase): Promise<Stored> {
  const { rows } = await client.query<Record<keyof Stored, string>>(
    `select (select coalesce(max(id), 0) from banking.consumers)::text as consumers,
            (select coalesce(max(id), 0) from banking.merchants)::text as merchants,
            (select coalesce(max(id), 0) from banking.banks)::text as banks,
            (select coalesce(max(id), 0) from banking.transactions)::text as "lastTransaction"`,
  );
  const [found] = rows;
  return {
    consumers: Number(found?.consumers),
    merchants: Number(found?.merchants),
    banks: Number(found?.banks),
    lastTransaction: Number(found?.lastTransaction),
  };
}

/** The latest transactions by id, oldest first. */
export async function readKnown(client: ClientBase): Promise<Transaction[]> {
  const { rows } = await client.query<{
    id: string;
    units: string | null;
    created: string | null;
    executed: string | null;
    label: string | null;
    countryCode: string | null;
    consumerId: number | null;
    bankId: number | null;
    merchantId: number | null;
  }>(
    `select id::text, (amount * ${UNIT})::bigint::text as units,
            (extract(epoch from creation_date) * 1000000)::bigint::text as created,
            (extract(epoch from execution_date) * 1000000)::bigint::text as executed,
            label, country_code as "countryCode", consumer_id as "consumerId", bank_id as "bankId", merchant_id as "merchantId"
     from banking.transactions
     where coalesce(isfinite(creation_date), true) and coalesce(isfinite(execution_date), true) and amount is distinct from 'NaN'
     order by id desc limit $1`,
    [KNOWN_ROWS],
  );
  return rows.reverse().map(({ id, units, created, executed, ...rest }) => ({
    ...rest,
    id: Number(id),
    amount: numberOf(units),
    creationDate: numberOf(created),
    executionDate: numberOf(executed),
  }));
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}
