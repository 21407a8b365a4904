import type { Micros } from '../instant.js';
import type { Payment, PaymentStatus } from './payment.js';
import type { Random } from '../random.js';

/** What the traffic remembers of a payment, so that it can change it later. */
export interface KnownPayment {
  readonly id: number;
  merchantId: number;
  cents: number;
  status: PaymentStatus;
  paidAt: Micros;
}

/**
 * A bounded memory of payments that may still be changed, with the open ones at hand. When it is full an old
 * entry is forgotten: its row stays in the database and simply changes no more.
 */
export class Book {
  readonly #max: number;
  readonly #payments: KnownPayment[] = [];
  readonly #places = new Map<number, number>();
  readonly #open: number[] = [];
  readonly #openPlaces = new Map<number, number>();
  #oldest = 0;

  constructor(max = 20_000) {
    this.#max = max;
  }

  get size(): number {
    return this.#payments.length;
  }

  get openCount(): number {
    return this.#open.length;
  }

  get(id: number): KnownPayment | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : this.#payments[place];
  }

  add(payment: Payment | KnownPayment): void {
    const { id, merchantId, cents, status, paidAt } = payment;
    const known: KnownPayment = { id, merchantId, cents, status, paidAt };
    if (this.#payments.length < this.#max) {
      this.#places.set(id, this.#payments.push(known) - 1);
    } else {
      const forgotten = this.#payments[this.#oldest];
      if (forgotten !== undefined) {
        this.#places.delete(forgotten.id);
        this.#close(forgotten.id);
      }
      this.#payments[this.#oldest] = known;
      this.#places.set(id, this.#oldest);
      this.#oldest = (this.#oldest + 1) % this.#max;
    }
    if (status === 'Pending') this.#openPlaces.set(id, this.#open.push(id) - 1);
  }

  settle(id: number, status: PaymentStatus): void {
    const payment = this.get(id);
    if (payment === undefined) return;
    payment.status = status;
    if (status !== 'Pending') this.#close(id);
  }

  remove(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#close(id);
    this.#places.delete(id);
    const last = this.#payments.pop();
    if (last === undefined || last.id === id) return;
    this.#payments[place] = last;
    this.#places.set(last.id, place);
  }

  /** Any payment it knows, or undefined when it knows none. */
  pick(random: Random): KnownPayment | undefined {
    return this.#payments[random.below(this.#payments.length)];
  }

  /** One of the open payments, the older half preferred, since payments are settled roughly in their order. */
  pickOpen(random: Random): KnownPayment | undefined {
    const reach = random.chance(0.7) ? Math.ceil(this.#open.length / 2) : this.#open.length;
    const id = this.#open[random.below(reach)];
    return id === undefined ? undefined : this.get(id);
  }

  /** Payments of one merchant; looks through all of them, for the rare operations that change many. */
  openOf(merchantId: number): KnownPayment[] {
    return this.#payments.filter(
      (payment) => payment.merchantId === merchantId && payment.status === 'Pending',
    );
  }

  #close(id: number): void {
    const place = this.#openPlaces.get(id);
    if (place === undefined) return;
    this.#openPlaces.delete(id);
    const last = this.#open.pop();
    if (last === undefined || last === id) return;
    this.#open[place] = last;
    this.#openPlaces.set(last, place);
  }
}
