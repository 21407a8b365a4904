import { cumulate, type Random } from '../random.js';
import type { Day } from './day.js';

export interface KnownAccount {
  readonly id: number;
  readonly weight: number;
  /** Mean of the days from issue to payment. */
  readonly usualDays: number;
}

/** What the traffic remembers of an invoice, so that it can change it later. */
export interface KnownInvoice {
  readonly id: number;
  accountId: number;
  issued: Day;
  paid: Day | null;
  readonly lines: number[];
}

/** Invoices remembered at most; the oldest of them is forgotten first, and simply changes no more. */
const INVOICES_MAX = 5_000;
/** How often it looks for an invoice of the wanted kind before it does something else. */
const LOOKS = 8;

/** What the sequence of operations knows: accounts, items, invoices that may still change, and the next ids. */
export class Ledger {
  readonly accounts: KnownAccount[];
  readonly skus: readonly string[];
  readonly #weights: number[];
  readonly #invoices: KnownInvoice[] = [];
  nextAccountId: number;
  nextInvoiceId: number;
  nextLineId: number;

  constructor(options: {
    readonly accounts: readonly KnownAccount[];
    readonly skus: readonly string[];
    readonly nextInvoiceId: number;
    readonly nextLineId: number;
  }) {
    this.accounts = [...options.accounts];
    this.skus = options.skus;
    this.#weights = cumulate(this.accounts.map(({ weight }) => weight));
    this.nextAccountId = this.accounts.reduce((max, { id }) => Math.max(max, id), 0) + 1;
    this.nextInvoiceId = options.nextInvoiceId;
    this.nextLineId = options.nextLineId;
  }

  addAccount(account: KnownAccount): void {
    this.accounts.push(account);
    this.#weights.push((this.#weights.at(-1) ?? 0) + account.weight);
  }

  addInvoice(invoice: KnownInvoice): void {
    if (this.#invoices.length < INVOICES_MAX) this.#invoices.push(invoice);
    else this.#invoices[invoice.id % INVOICES_MAX] = invoice;
  }

  removeInvoice(invoice: KnownInvoice): void {
    const place = this.#invoices.indexOf(invoice);
    const last = this.#invoices.pop();
    if (place >= 0 && last !== undefined && last !== invoice) this.#invoices[place] = last;
  }

  pickAccount(random: Random): KnownAccount {
    const account = this.accounts[random.weighted(this.#weights)];
    if (account === undefined) throw new Error('receivables.accounts is empty: load initial data first');
    return account;
  }

  /** An invoice that is as wanted; undefined when none was found at a few looks. */
  pickInvoice(random: Random, wanted: (invoice: KnownInvoice) => boolean): KnownInvoice | undefined {
    for (let look = 0; look < LOOKS; look++) {
      const invoice = this.#invoices[random.below(this.#invoices.length)];
      if (invoice !== undefined && wanted(invoice)) return invoice;
    }
    return undefined;
  }
}

/** A new account: most pay in about four weeks, one in six takes its time. */
export function newAccount(id: number, random: Random): KnownAccount {
  const usualDays = random.chance(1 / 6) ? random.between(32, 55) : random.between(24, 30);
  return { id, weight: Math.exp(0.8 * random.normal()), usualDays };
}

/** Days from issue to payment, this time. */
export function daysToPay(account: KnownAccount, random: Random): number {
  return Math.max(3, Math.round(account.usualDays + 4 * random.normal() + (random.chance(0.05) ? 25 : 0)));
}
