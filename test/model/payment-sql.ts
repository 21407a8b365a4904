import pg from 'pg';
import { MERCHANTS, PAYMENTS_MAX, type Operation, type Transaction } from './payment-events.js';

/** Where a list of events takes place: nobody has used its ids before, and all its dates are counted from one moment. */
export interface Stage {
  /** Lane 0's first merchant. */
  readonly first: bigint;
  /** Microseconds since 1970. */
  readonly now: bigint;
}

export function merchantId({ first }: Stage, lane: number, merchant: number): bigint {
  return first + BigInt(lane * MERCHANTS + merchant);
}

function paymentId({ first }: Stage, lane: number, payment: number): bigint {
  return 2n * first + BigInt(lane * PAYMENTS_MAX + payment);
}

/** RFC 3339, to the microsecond. */
export function timestamp({ now }: Stage, offset: bigint): string {
  const us = now + offset;
  const below = ((us % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = new Date(Number((us - below) / 1000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(below).padStart(6, '0')}Z`;
}

/** The whole transaction as one text, so that it costs one round trip. No operation fails, whatever is there. */
export function sqlOf(stage: Stage, { lane, operations, undone, commit }: Transaction): string {
  const statements = (some: readonly Operation[]) => some.map((one) => statement(stage, lane, one));
  return [
    'begin',
    // From the beginning: two transactions that came to it half way would wait for each other.
    ...(operations.some(({ op }) => op === 'truncate') ? ['lock payments in access exclusive mode'] : []),
    ...(undone.length === 0 ? [] : ['savepoint undone', ...statements(undone), 'rollback to undone']),
    ...statements(operations),
    commit ? 'commit' : 'rollback',
  ].join(';\n');
}

/** Three of each lane's merchants are there at first. */
export function merchantsSql(stage: Stage, lanes: number): string {
  return `insert into merchants (merchant_id, name)
    select ${stage.first} + i, 'M' from generate_series(0, ${lanes * MERCHANTS - 1}) as i
    where i % ${MERCHANTS} < ${MERCHANTS - 1}`;
}

const COLUMNS = 'merchant_id, amount, method, status, payment_date';

function statement(stage: Stage, lane: number, operation: Operation): string {
  const text = pg.escapeLiteral;
  const date = (offset: bigint) => text(timestamp(stage, offset));
  if (operation.op === 'truncate') return 'truncate payments';
  if (operation.op === 'merchant') {
    const id = merchantId(stage, lane, operation.merchant);
    return operation.there
      ? `insert into merchants (merchant_id, name) values (${id}, 'M') on conflict do nothing`
      : `delete from merchants where merchant_id = ${id}`;
  }
  const id = paymentId(stage, lane, operation.payment);
  const update = (what: string) => `update payments set ${what} where payment_id = ${id}`;
  switch (operation.op) {
    case 'insert':
    case 'replace': {
      const { merchant, amount, method, status, offset } = operation;
      const values = `${merchantId(stage, lane, merchant)}, ${amount}, ${text(method)}, ${text(status)}, ${date(offset)}`;
      if (operation.op === 'replace') return update(`(${COLUMNS}) = row(${values}::timestamptz)`);
      return `insert into payments (payment_id, customer_id, ${COLUMNS}) values (${id}, 1, ${values}) on conflict do nothing`;
    }
    case 'status':
      return update(`status = ${text(operation.status)}`);
    case 'amount':
      return update(`amount = ${operation.amount}`);
    case 'method':
      return update(`method = ${text(operation.method)}`);
    case 'redate':
      return update(`payment_date = ${date(operation.offset)}`);
    case 'reassign':
      return update(`merchant_id = ${merchantId(stage, lane, operation.merchant)}`);
    case 'rekey': {
      const to = paymentId(stage, lane, operation.to);
      return `${update(`payment_id = ${to}`)} and not exists (select from payments where payment_id = ${to})`;
    }
    case 'delete':
      return `delete from payments where payment_id = ${id}`;
  }
}
