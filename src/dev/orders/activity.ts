import type { ClientBase } from 'pg';
import { formatInstant, MINUTE, SECOND, type Micros } from '../instant.js';
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

/** How long a step takes this time: about as long as usual, rarely three times that. */
export function timeOf(step: number, random: Random): Micros {
  return Math.floor((STEPS[step]?.after ?? MINUTE) * Math.exp(0.45 * random.normal()));
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
