import { DAY, HOUR, type Micros, MINUTE } from '../instant.js';
import { cumulate, type Random } from '../random.js';
import type { Book, Known } from './book.js';
import type { Statement } from './statements.js';
import { compensationOf, type Transaction, UNIT } from './transaction.js';
import type { TransactionGenerator } from './transaction-generator.js';

/** What an operation is made from. */
export interface World {
  readonly transactions: TransactionGenerator;
  readonly book: Book;
  readonly random: Random;
}

/** One source transaction, as data. */
export interface BankingOperation {
  readonly kind: OperationKind;
  readonly statements: readonly Statement[];
  /** False for a transaction that is rolled back after its statements: nobody may ever see them. */
  readonly commit: boolean;
}

/** How often each kind comes. */
const FREQUENCY = {
  pay: 50,
  correct_amount: 6,
  correct_date: 5,
  correct_merchant: 3,
  correct_consumer: 2,
  spoil: 2,
  repair: 5,
  cancel_by_delete: 3,
  cancel_by_row: 4,
  refund_part: 3,
  retract_compensation: 1,
  duplicate: 4,
  undo_duplicate_by_delete: 2,
  undo_duplicate_by_row: 2,
  replace: 2,
  settle_day: 0.4,
  roll_back: 2,
  new_consumer: 0.7,
  new_merchant: 0.5,
  close_consumer: 0.2,
  change_prefered: 1,
  rename_bank: 0.3,
} as const;

export type OperationKind = keyof typeof FREQUENCY;
export const OPERATION_KINDS = Object.keys(FREQUENCY) as OperationKind[];
const FREQUENCY_SUMS = cumulate(OPERATION_KINDS.map((kind) => FREQUENCY[kind]));

type Maker = (world: World, now: Micros) => readonly Statement[] | null;

/** The next operation of the sequence; nothing of it is in the book yet. */
export function nextOperation(world: World, now: Micros): BankingOperation {
  const wanted = OPERATION_KINDS[world.random.weighted(FREQUENCY_SUMS)]!;
  const statements = MAKERS[wanted](world, now);
  // Where there is nothing to change, something is paid instead.
  if (statements === null) return { kind: 'pay', statements: MAKERS.pay(world, now)!, commit: true };
  return { kind: wanted, statements, commit: wanted !== 'roll_back' };
}

/** Takes a committed operation into the book. */
export function remember(book: Book, { kind, statements }: BankingOperation): void {
  for (const statement of statements) {
    if (statement.type === 'insert') {
      for (const transaction of statement.transactions) {
        book.add(transaction, kind === 'duplicate');
        const [, original] = /^compensates (\d+)$/.exec(transaction.label ?? '') ?? [];
        const known = original === undefined ? undefined : book.get(Number(original));
        if (known !== undefined) known.left += transaction.amount ?? 0;
      }
    } else if (statement.type === 'update') {
      const known = book.get(statement.id);
      if (known === undefined) continue;
      known.left += (statement.set.amount ?? known.transaction.amount ?? 0) - (known.transaction.amount ?? 0);
      known.transaction = { ...known.transaction, ...statement.set };
    } else if (statement.type === 'delete') {
      book.remove(statement.id);
    }
  }
}

const MAKERS: Record<OperationKind, Maker> = {
  pay: ({ transactions }, now) => [insert(transactions.at(now).transaction)],

  correct_amount: ({ book, random, transactions }) =>
    change(book.pick(random, isPositive), ({ amount }) => ({
      amount: random.chance(0.6)
        ? Math.max(1, amount! + (random.below(201) - 100) * (UNIT / 100))
        : transactions.amountOf({ logAmount: 3 }),
    })),

  // Minutes, days, months, across the edge of the retention and back; sometimes nobody knows when.
  correct_date: ({ book, random }, now) =>
    change(book.pick(random), () => {
      const reach = random.next();
      const age =
        reach < 0.5
          ? random.between(MINUTE, 2 * DAY)
          : reach < 0.85
            ? random.between(2 * DAY, 600 * DAY)
            : random.between(735 * DAY, 800 * DAY);
      const executionDate = random.chance(0.03) ? null : now - Math.round(age);
      return { executionDate, creationDate: (executionDate ?? now) - HOUR };
    }),

  correct_merchant: ({ book, random, transactions }) =>
    change(book.pick(random), () => ({
      merchantId: random.chance(0.1) ? null : random.pick(transactions.merchants).id,
    })),

  correct_consumer: ({ book, random, transactions }) =>
    change(book.pick(random), () => ({
      consumerId: random.chance(0.05) ? null : random.pick(transactions.consumers).id,
    })),

  // A correction that makes it worse.
  spoil: ({ book, random }) =>
    change(book.pick(random, isPositive), ({ amount }) =>
      random.pick([
        { amount: 0 },
        { amount: -amount! },
        { label: null },
        { countryCode: 'XX' },
        { amount: 5_000_000_000 },
      ]),
    ),

  // What was wrong is filled in, all of it.
  repair: ({ book, random, transactions }, now) =>
    change(
      book.pick(random, ({ transaction }) => isFaulty(transaction, now)),
      () => {
        const { id: _, ...sound } = transactions.at(now).transaction;
        return sound;
      },
    ),

  cancel_by_delete: ({ book, random }) => remove(book.pick(random)),

  cancel_by_row: (world, now) => compensate(world, world.book.pick(world.random, isPositive), 1, now),

  refund_part: (world, now) =>
    compensate(world, world.book.pick(world.random, isPositive), world.random.between(0.05, 0.6), now),

  // The compensation itself was a mistake.
  retract_compensation: ({ book, random }) =>
    remove(book.pick(random, ({ transaction }) => transaction.label?.startsWith('compensates ') === true)),

  duplicate: ({ book, random, transactions }) => {
    const known = book.pick(random, isPositive);
    return known === undefined ? null : [insert({ ...known.transaction, id: transactions.takeId() })];
  },

  undo_duplicate_by_delete: ({ book }) => remove(book.pickDuplicate()),

  undo_duplicate_by_row: (world, now) => compensate(world, world.book.pickDuplicate(), 1, now),

  // Taken back and entered anew, with another amount, in one transaction.
  replace: (world, now) => {
    const { book, random, transactions } = world;
    const known = book.pick(random, isPositive);
    const taken = compensate(world, known, 1, now);
    if (known === undefined || taken === null) return null;
    const amount = Math.max(1, Math.round((known.transaction.amount ?? 1) * random.between(0.8, 1.2)));
    return [...taken, insert({ ...known.transaction, id: transactions.takeId(), amount, creationDate: now })];
  },

  // A bank's day in one file, in which one row is corrected at once and another taken out again.
  settle_day: ({ random, transactions }, now) => {
    const rows = Array.from({ length: 20 + random.below(60) }, () =>
      transactions.at(now - random.below(12) * HOUR, now),
    ).map(({ transaction }) => transaction);
    return [
      { type: 'insert', transactions: rows },
      { type: 'update', id: rows[0]!.id, set: { amount: transactions.amountOf({ logAmount: 2 }) } },
      { type: 'update', id: rows[0]!.id, set: { label: 'Corrected on settlement' } },
      { type: 'delete', id: rows[1]!.id },
    ];
  },

  roll_back: ({ book, random, transactions }, now) => [
    insert(transactions.at(now).transaction),
    ...(remove(book.pick(random)) ?? []),
  ],

  new_consumer: ({ transactions }) => [{ type: 'insert_consumers', consumers: [transactions.addConsumer()] }],

  new_merchant: ({ transactions }) => [{ type: 'insert_merchants', merchants: [transactions.addMerchant()] }],

  // Its transactions stay, of a party that nobody knows any more.
  close_consumer: ({ random, transactions }) => [
    { type: 'delete_consumer', consumerId: random.pick(transactions.consumers).id },
  ],

  change_prefered: ({ random, transactions }) => [
    {
      type: 'set_prefered',
      consumerId: random.pick(transactions.consumers).id,
      merchants: [
        ...new Set(Array.from({ length: random.below(5) }, () => random.pick(transactions.merchants).id)),
      ],
    },
  ],

  rename_bank: ({ random, transactions }) => {
    const { id, name } = random.pick(transactions.banks);
    return [{ type: 'rename_bank', bankId: id, name: `${name} ${2000 + random.below(27)}` }];
  },
};

function insert(transaction: Transaction): Statement {
  return { type: 'insert', transactions: [transaction] };
}

function change(
  known: Known | undefined,
  newOf: (transaction: Transaction) => Partial<Omit<Transaction, 'id'>>,
): Statement[] | null {
  return known === undefined
    ? null
    : [{ type: 'update', id: known.transaction.id, set: newOf(known.transaction) }];
}

function remove(known: Known | undefined): Statement[] | null {
  return known === undefined ? null : [{ type: 'delete', id: known.transaction.id }];
}

/** Takes back this share of what is left, by a row of its own. */
function compensate(
  { transactions }: World,
  known: Known | undefined,
  share: number,
  now: Micros,
): Statement[] | null {
  if (known === undefined) return null;
  const amount = Math.max(1, Math.round(known.left * share));
  return [insert(compensationOf(known.transaction, transactions.takeId(), amount, now))];
}

function isPositive({ transaction, left }: Known): boolean {
  return (transaction.amount ?? 0) > 0 && left > 0;
}

function isFaulty(transaction: Transaction, now: Micros): boolean {
  const { merchantId: _, ...required } = transaction;
  const { amount, countryCode, executionDate, label } = transaction;
  return (
    Object.values(required).includes(null) ||
    (amount! <= 0 && !label!.startsWith('compensates ')) ||
    countryCode?.length !== 2 ||
    executionDate! > now
  );
}
