import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import type { ClientBase } from 'pg';
import { from as copyFrom } from 'pg-copy-streams';

import { formatInstant, type Micros } from '../instant.js';
import { initialMerchants, initialPayments } from './initial.js';
import { type MerchantProfile, profileOf } from './merchants.js';
import { formatCents, type Payment } from './payment.js';
import { Random } from '../random.js';
import { createState, type TrafficState } from './state.js';

/** Payments whose later fate the traffic follows: the latest, which change most, and as many spread over all others. */
const REMEMBERED_LATEST = 10_000;
const REMEMBERED_MAX = 2 * REMEMBERED_LATEST;
const COPY_CHUNK_CHARS = 1 << 16;

export async function isLoaded(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ loaded: boolean }>(
    'select exists (select from public.merchants) or exists (select from public.payments) as loaded',
  );
  return rows[0]?.loaded ?? false;
}

export interface InitialData {
  readonly profiles: readonly MerchantProfile[];
  readonly seed: number;
  readonly payments: number;
  readonly days: number;
  readonly until: Micros;
}

/** Loads both tables through COPY in one transaction, so that a load that is cut off leaves nothing behind. */
export async function copyInitialData(client: ClientBase, data: InitialData): Promise<TrafficState> {
  const state = createState(data.profiles, data.payments + 1);
  const stride = strideOf(data.payments);
  await client.query('begin');
  try {
    await pipeline(
      Readable.from(chunked(merchantLines(data)), { objectMode: false }),
      client.query(
        copyFrom(
          'copy public.merchants (merchant_id, name, address, phone, email, ingestion_date) from stdin',
        ),
      ),
    );
    const { profiles, seed, payments, days, until } = data;
    await pipeline(
      Readable.from(
        chunked(
          paymentLines(initialPayments(profiles, seed, payments, days, until), (payment) => {
            if (payment.id > data.payments - REMEMBERED_LATEST || payment.id % stride === 0)
              state.book.add(payment);
          }),
        ),
        { objectMode: false },
      ),
      client.query(
        copyFrom(
          `copy public.payments
             (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date) from stdin`,
        ),
      ),
    );
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
  // The planner's row counts are what progress is reckoned from, and autovacuum may take a minute.
  await client.query('analyze public.merchants, public.payments');
  return state;
}

function strideOf(payments: number): number {
  return Math.max(1, Math.ceil(payments / REMEMBERED_LATEST));
}

function* merchantLines({ profiles, seed, days, until }: InitialData): Generator<string> {
  const ingestedAt = formatInstant(until - days * 86_400_000_000);
  for (const { id, text } of initialMerchants(profiles, seed)) {
    const fields = [text.name, text.address, text.phone, text.email].map(escapeCopy);
    yield `${id}\t${fields.join('\t')}\t${ingestedAt}\n`;
  }
}

function* paymentLines(payments: Iterable<Payment>, remember: (payment: Payment) => void): Generator<string> {
  for (const payment of payments) {
    remember(payment);
    const { id, merchantId, customerId, cents, method, status, paidAt, ingestedAt } = payment;
    const amount = formatCents(cents);
    const dates = `${formatInstant(paidAt)}\t${formatInstant(ingestedAt)}`;
    yield `${id}\t${merchantId}\t${customerId}\t${amount}\t${escapeCopy(method)}\t${status}\t${dates}\n`;
  }
}

function* chunked(lines: Iterable<string>): Generator<string> {
  let chunk = '';
  for (const line of lines) {
    chunk += line;
    if (chunk.length < COPY_CHUNK_CHARS) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk !== '') yield chunk;
}

function escapeCopy(text: string): string {
  return text.replace(/[\\\t\n\r]/g, (character) =>
    character === '\t' ? '\\t' : character === '\n' ? '\\n' : character === '\r' ? '\\r' : '\\\\',
  );
}

/**
 * What the traffic needs to know of tables that hold rows already: the merchants, with the sizes they show, some
 * of the payments, and where ids go on.
 */
export async function readState(client: ClientBase, seed: number): Promise<TrafficState> {
  const random = new Random(seed, 4);
  const merchants = await client.query<{ id: string; payments: string }>(
    `select merchant_id::text as id,
            (select count(*) from public.payments where payments.merchant_id = merchants.merchant_id)::text as payments
     from public.merchants order by merchant_id`,
  );
  const last = await client.query<{ id: string }>(
    'select coalesce(max(payment_id), 0)::text as id from public.payments',
  );
  const profiles = merchants.rows.map(({ id, payments }) =>
    profileOf(Number(id), Number(payments) + 0.01, random),
  );
  const lastId = Number(last.rows[0]?.id ?? 0);
  const state = createState(profiles, lastId + 1);
  const remembered = await client.query<{
    id: string;
    merchant: string;
    cents: string;
    status: string;
    paid: string;
  }>(
    `select payment_id::text as id, merchant_id::text as merchant, (amount * 100)::bigint::text as cents, status,
            (extract(epoch from payment_date) * 1000000)::bigint::text as paid
     from public.payments
     where isfinite(payment_date) and (payment_id > $1 or payment_id % $2 = 0)
     order by payment_id desc limit $3`,
    [lastId - REMEMBERED_LATEST, strideOf(lastId), REMEMBERED_MAX],
  );
  for (const { id, merchant, cents, status, paid } of remembered.rows.reverse()) {
    state.book.add({
      id: Number(id),
      merchantId: Number(merchant),
      cents: Number(cents),
      status: status as Payment['status'],
      paidAt: Number(paid),
    });
  }
  return state;
}
