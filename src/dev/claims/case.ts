import { DAY, formatInstant, HOUR, type Micros, MINUTE } from '../instant.js';
import { cumulate, type Random } from '../random.js';

/** Rows of the tables under their columns' names, as they go to Postgres in JSON. */
export type Row = Readonly<Record<string, string | number | null>>;

export const TABLES = ['treatments', 'invoices', 'invoice_items', 'claims'] as const;

/** A treatment with all that hangs on it: rows by table. */
export interface Case {
  readonly treatments: readonly Row[];
  readonly invoices: readonly Row[];
  readonly invoice_items: readonly Row[];
  readonly claims: readonly Row[];
}

/** Where ids go on, one sequence a table. */
export interface NextIds {
  treatment: number;
  invoice: number;
  item: number;
  claim: number;
}

const PROGRAMS = [40, 577, 578, 36, 47];
const PROGRAM_SUMS = cumulate([870, 106, 17, 5, 2]);
const PRODUCTS = 5_000;
const BILL_MAX = 100_000;
const PRICES = [0, 5, 20, 50, 100, 150, 200, 300, 450, 800, 1_500, 4_000];
const PRICE_SUMS = cumulate([20, 12, 10, 18, 14, 8, 6, 5, 3, 2, 1.5, 0.5]);

/** A timestamp without time zone, to the second, as the source system writes it. */
export function stamp(at: Micros): string {
  return formatInstant(at).slice(0, 19).replace('T', ' ');
}

/** The same word as different people write it. */
export function spell(word: string, random: Random): string {
  const way = random.next();
  if (way < 0.6) return word;
  if (way < 0.85) return word.toUpperCase();
  return way < 0.95 ? word.toLowerCase() : word.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
}

export function price(random: Random): number {
  return PRICES[random.weighted(PRICE_SUMS)] ?? 100;
}

export function item(ids: NextIds, invoiceId: number, at: Micros, random: Random): Row {
  const invented = random.chance(0.3);
  return {
    id: ids.item++,
    status: random.chance(0.07) ? spell('Deleted', random) : random.pick(['ACTIVE', 'ACTIVE', 'SUBMITTED']),
    date_created: random.chance(0.3) ? null : stamp(at),
    invoice_id: invoiceId,
    product_id: (invented ? -1 : 1) * (1 + random.below(PRODUCTS)),
    currency: random.chance(0.001) ? 'TZS' : 'KES',
    amount: amount(price(random), random),
  };
}

export function invoice(ids: NextIds, treatmentId: number, at: Micros, random: Random): Row {
  return {
    id: ids.invoice++,
    status: spell(random.pick(['SUBMITTED', 'SUBMITTED', 'FINAL', 'DRAFT']), random),
    date_created: random.chance(0.35) ? null : stamp(at + 5 * MINUTE),
    treatment_id: treatmentId,
  };
}

export function claim(
  ids: NextIds,
  treatmentId: number | null,
  program: number,
  units: number,
  dates: { readonly created: Micros; readonly modified: Micros; readonly status: string },
  random: Random,
): Row {
  return {
    id: ids.claim++,
    status: spell(dates.status, random),
    type: random.chance(0.03) ? 'Voucher' : 'Benefit',
    date_created: random.chance(0.3) ? null : stamp(dates.created),
    date_modified: random.chance(0.04) ? null : stamp(dates.modified),
    treatment_id: treatmentId,
    program_id: random.chance(0.002) ? 540 : program,
    amount: random.chance(0.002) ? null : amount(units, random),
    currency: random.chance(0.002) ? 'TZS' : 'KES',
  };
}

/** What a slip of the keyboard makes of an amount now and then. */
export function amount(units: number, random: Random): string {
  const slip = random.next();
  const cents = random.chance(0.1) ? `.${String(random.below(10_000)).padStart(4, '0')}` : '.0000';
  if (slip < 0.002) return `-${units + 1}${cents}`;
  if (slip < 0.003) return `${666_666_666_666 + random.below(10)}.0000`;
  return `${units}${cents}`;
}

/**
 * A new case, begun at a moment and seen at `until`: most are closed within days, with a claim for what the invoice says. A few have no
 * invoice, several, or a second claim, and some claims name a treatment that there is not.
 */
export function generateCase(ids: NextIds, at: Micros, until: Micros, random: Random): Case {
  const treatment = ids.treatment++;
  const program = PROGRAMS[random.weighted(PROGRAM_SUMS)] ?? 40;
  const submitted = at + Math.round(random.between(0.1, 3) * DAY);
  const closed = submitted + Math.round(random.between(0.5, 20) * DAY);
  const state =
    closed < until ? 'CLOSED' : submitted < until ? 'SUBMITTED' : random.pick(['OPEN', 'IN_PROGRESS']);
  const modified = Math.min(closed, until);
  const count = random.chance(0.2) ? 0 : random.chance(0.01) ? 2 + random.below(2) : 1;
  const invoices = Array.from({ length: count }, () => invoice(ids, treatment, at + HOUR, random));
  const items = invoices.flatMap(({ id }) =>
    Array.from({ length: random.below(5) }, () => item(ids, Number(id), at + HOUR, random)),
  );
  const charged = items
    .filter(({ status }) => String(status).toLowerCase() !== 'deleted')
    .reduce((sum, { amount: each }) => sum + Math.trunc(Number(each)), 0);
  // A bill with a slip of the keyboard on it is not what is claimed.
  const units = random.chance(0.7) && charged >= 0 && charged < BILL_MAX ? charged : price(random);
  const status = state === 'CLOSED' ? decision(random) : state === 'SUBMITTED' ? 'Submitted' : 'Draft';
  const dates = { created: at, modified, status };
  const claims = [
    claim(ids, random.chance(0.002) ? 1 + random.below(1_000) : treatment, program, units, dates, random),
  ];
  if (random.chance(0.012)) claims.push(claim(ids, treatment, program, price(random), dates, random));
  return {
    treatments: [
      {
        id: treatment,
        status: spell(random.chance(0.05) ? 'DELETED' : state, random),
        date_created: random.chance(0.01) ? null : stamp(at),
        date_modified: random.chance(0.04) ? null : stamp(modified),
        date_submitted: state === 'CLOSED' || state === 'SUBMITTED' ? stamp(submitted) : null,
        date_treatment: random.chance(0.01) ? null : stamp(at - HOUR),
        program_id: program,
      },
    ],
    invoices,
    invoice_items: items,
    claims,
  };
}

export function decision(random: Random): string {
  const point = random.next();
  return point < 0.88
    ? 'Approved'
    : point < 0.95
      ? 'Rejected'
      : point < 0.97
        ? 'PartiallyRejected'
        : 'Deleted';
}
