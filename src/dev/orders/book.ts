import type { ClientBase } from 'pg';
import { reserveIds } from '../id-block.js';
import type { Micros } from '../instant.js';
import type { Random } from '../random.js';
import { STEPS, type Activity } from './activity.js';

/** What the traffic remembers of an order, so that it can go on with it, or correct it. */
export interface KnownOrder {
  readonly id: number;
  /** The next of `STEPS`; beyond the last one when nothing more is to come. */
  step: number;
  lastAt: Micros;
  readonly activities: { readonly id: number; readonly at: Micros }[];
}

/** Orders remembered at most; an older one simply changes no more. */
const ORDERS_MAX = 2_000;
const LOOKS = 8;

/** The orders that may still change, and the next ids. */
export class Book {
  readonly #orders: KnownOrder[] = [];
  nextOrderId: number;
  nextActivityId: number;

  constructor(nextOrderId: number, nextActivityId: number) {
    this.nextOrderId = nextOrderId;
    this.nextActivityId = nextActivityId;
  }

  add(order: KnownOrder): void {
    if (this.#orders.length < ORDERS_MAX) this.#orders.push(order);
    else this.#orders[order.id % ORDERS_MAX] = order;
  }

  remove(order: KnownOrder): void {
    const place = this.#orders.indexOf(order);
    const last = this.#orders.pop();
    if (place >= 0 && last !== undefined && last !== order) this.#orders[place] = last;
  }

  /** An order that is as wanted; undefined when none was found at a few looks. */
  pick(random: Random, wanted: (order: KnownOrder) => boolean): KnownOrder | undefined {
    for (let look = 0; look < LOOKS; look++) {
      const order = this.#orders[random.below(this.#orders.length)];
      if (order !== undefined && wanted(order)) return order;
    }
    return undefined;
  }

  /** An activity of the order, with an id of its own, which the order remembers. */
  activity(order: KnownOrder, type: string, actor: Activity['actor'], at: Micros): Activity {
    const id = this.nextActivityId++;
    order.activities.push({ id, at });
    return { id, orderId: order.id, actor, type, at };
  }
}

/** What the traffic needs to know of a table that holds rows already: the latest orders, and where ids go on. */
export async function readBook(client: ClientBase): Promise<Book> {
  const last = await client.query<{ id: string }>(
    'select coalesce(max(order_id), 0)::text as id from orders.order_activity',
  );
  const nextActivityId = await reserveIds(client, 'orders.order_activity', 'activity_id');
  const book = new Book(Number(last.rows[0]?.id ?? 0) + 1, nextActivityId);
  const orders = await client.query<{ id: string; ids: string[]; ats: string[]; types: string[] }>(
    `select order_id::text as id, array_agg(activity_id::text order by activity_id) as ids,
            array_agg((extract(epoch from at) * 1000000)::bigint::text order by activity_id) as ats,
            array_agg(activity_type order by activity_id) as types
     from orders.order_activity where isfinite(at)
     group by order_id order by orders.order_activity.order_id desc limit ${ORDERS_MAX}`,
  );
  for (const { id, ids, ats, types } of orders.rows.reverse()) {
    const activities = ids.map((activity, index) => ({ id: Number(activity), at: Number(ats[index]) }));
    const done = STEPS.findLastIndex(({ type }) => types.includes(type));
    const step = types.includes('cancelled') ? STEPS.length : done + 1;
    book.add({ id: Number(id), step, lastAt: Math.max(...activities.map(({ at }) => at)), activities });
  }
  return book;
}
