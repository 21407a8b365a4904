import type { ClientBase } from 'pg';
import { DAY, formatInstant, HOUR, MINUTE, SECOND, type Micros } from '../instant.js';
import type { Random } from '../random.js';

/** A row of orders.order_activity. */
export interface Activity {
  readonly id: number;
  readonly orderId: number;
  readonly actor: 'customer' | 'deliverer';
  readonly type: string;
  readonly at: Micros;
}

/** An order's usual way; each step with who does it and about how long after the one before. */
export const STEPS: readonly {
  readonly type: string;
  readonly actor: Activity['actor'];
  readonly after: Micros;
}[] = [
  { type: 'placed', actor: 'customer', after: 0 },
  { type: 'paid', actor: 'customer', after: 40 * SECOND },
  { type: 'accepted', actor: 'deliverer', after: 4 * MINUTE },
  { type: 'picked_up', actor: 'deliverer', after: 15 * MINUTE },
  { type: 'arrived', actor: 'deliverer', after: 12 * MINUTE },
  { type: 'delivered', actor: 'deliverer', after: 2 * MINUTE },
  { type: 'rated', actor: 'customer', after: 180 * MINUTE },
];

/** How many orders are placed in each hour of the day (UTC), relative to each other: noon and evening are what there is most of. */
export const HOURS = [2, 1, 1, 1, 1, 1, 2, 4, 5, 5, 7, 14, 20, 15, 7, 5, 6, 12, 22, 24, 18, 11, 6, 3];

/** How long a step takes that begins at this moment: about as long as usual, longer where everybody orders, rarely three times that. */
export function timeOf(step: number, from: Micros, random: Random): Micros {
  const rush = 0.8 + (HOURS[Math.floor((from % DAY) / HOUR)] ?? 1) / 30;
  return Math.floor((STEPS[step]?.after ?? MINUTE) * rush * Math.exp(0.45 * random.normal()));
}

export async function insertActivities(client: ClientBase, activities: readonly Activity[]): Promise<number> {
  const result = await client.query({
    text: `insert into orders.order_activity (activity_id, order_id, actor, activity_type, at)
           select * from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[])`,
    values: [
      activities.map(({ id }) => id),
      activities.map(({ orderId }) => orderId),
      activities.map(({ actor }) => actor),
      activities.map(({ type }) => type),
      activities.map(({ at }) => formatInstant(at)),
    ],
  });
  return result.rowCount ?? 0;
}
