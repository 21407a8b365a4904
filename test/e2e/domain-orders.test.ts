import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDomain, type DomainScenario } from '../support/domain-scenario.js';

let domain: DomainScenario;

/** Order 1 goes the whole way; 2 is cancelled; 3 has a clock that is wrong and an arrival too many; 4 has nothing that has a column. */
const PLANTED = `insert into orders.order_activity (order_id, actor, activity_type, at) values
  (1, 'customer', 'placed', '2026-03-29 00:59:59.999999+00'), (1, 'customer', 'paid', '2026-03-29 01:00:00+00'),
  (1, 'deliverer', 'accepted', '2026-03-29 03:00:30+02'), (1, 'deliverer', 'picked_up', '2026-03-29 01:10:00.5+00'),
  (1, 'deliverer', 'arrived', '2026-03-29 01:20:00+00'), (1, 'deliverer', 'delivered', '2026-03-29 01:21:00+00'),
  (1, 'customer', 'rated', '2026-03-30 01:21:00.000001+00'),
  (2, 'customer', 'placed', '2026-03-01 10:00:00+00'), (2, 'deliverer', 'cancelled', '2026-03-01 10:05:00+00'),
  (3, 'customer', 'placed', '2026-03-01 10:00:00+00'), (3, 'deliverer', 'accepted', '2026-03-01 09:59:58.25+00'),
  (3, 'deliverer', 'arrived', '2026-03-01 10:30:00+00'), (3, 'deliverer', 'arrived', '2026-03-01 10:20:00+00'),
  (3, 'deliverer', 'photo', '2026-03-01 10:30:00+00'),
  (4, 'robot', 'Placed', '1955-03-01 10:30:00+00'),
  (9223372036854775807, 'customer', 'placed', '2100-01-01 00:00:00+00'), (9223372036854775807, 'deliverer', 'delivered', '1931-01-01 00:00:00+00');`;

beforeAll(async () => {
  domain = await openDomain('orders', { sql: PLANTED });
}, 60_000);
afterAll(() => domain?.scenario.close());

describe('dim_orders', () => {
  /** What the mart shows of an order, without what is null. */
  async function order(id: number): Promise<Record<string, unknown> | undefined> {
    await domain.scenario.applied();
    const [row] = await domain.ask(
      `select * from {database}.dim_orders where order_id = ${id} settings output_format_json_quote_decimals = 1`,
    );
    return row && Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
  }

  it('has the moments of every order and the seconds between them, to the microsecond', async () => {
    await domain.expectMarts();
    expect(await order(1)).toEqual({
      order_id: '1',
      placed_at: '2026-03-29 00:59:59.999999',
      paid_at: '2026-03-29 01:00:00.000000',
      accepted_at: '2026-03-29 01:00:30.000000',
      picked_up_at: '2026-03-29 01:10:00.500000',
      arrived_at: '2026-03-29 01:20:00.000000',
      delivered_at: '2026-03-29 01:21:00.000000',
      rated_at: '2026-03-30 01:21:00.000001',
      placed_to_paid_s: '0.000001',
      placed_to_accepted_s: '30.000001',
      accepted_to_picked_up_s: '570.5',
      picked_up_to_arrived_s: '599.5',
      arrived_to_delivered_s: '60',
      placed_to_delivered_s: '1260.000001',
      delivered_to_rated_s: '86400.000001',
      activities: '7',
      other_activities: '0',
      last_activity: 'rated',
      last_actor: 'customer',
      last_activity_at: '2026-03-30 01:21:00.000001',
    });
    expect(await order(2)).toMatchObject({
      placed_to_cancelled_s: '300',
      last_activity: 'cancelled',
      last_actor: 'deliverer',
    });
  });

  it('takes the first of several, shows a wrong clock as a negative duration, and counts types without a column', async () => {
    expect(await order(3)).toMatchObject({
      arrived_at: '2026-03-01 10:20:00.000000',
      placed_to_accepted_s: '-1.75',
      activities: '5',
      other_activities: '1',
      last_activity: 'photo',
    });
    expect(await order(4)).toEqual({
      order_id: '4',
      activities: '1',
      other_activities: '1',
      last_activity: 'Placed',
      last_actor: 'robot',
      last_activity_at: '1955-03-01 10:30:00.000000',
    });
  });

  it.each([
    ['corrected to a later time', `update orders.order_activity set at = '2026-03-01 10:40:00+00' where order_id = 3 and at = '2026-03-01 10:20:00+00'`, 3, { arrived_at: '2026-03-01 10:30:00.000000', last_activity: 'arrived', last_activity_at: '2026-03-01 10:40:00.000000' }],
    ['corrected to an earlier time', `update orders.order_activity set at = '2026-03-01 10:10:00+00' where order_id = 3 and at = '2026-03-01 10:40:00+00'`, 3, { arrived_at: '2026-03-01 10:10:00.000000', last_activity: 'photo' }],
    ['deleted', `delete from orders.order_activity where order_id = 3 and at = '2026-03-01 10:10:00+00'`, 3, { arrived_at: '2026-03-01 10:30:00.000000', activities: '4' }],
    ['corrected to another type', `update orders.order_activity set activity_type = 'delivered' where order_id = 3 and activity_type = 'photo'`, 3, { delivered_at: '2026-03-01 10:30:00.000000', placed_to_delivered_s: '1800', other_activities: '0' }],
    ['moved to another order', `update orders.order_activity set order_id = 2 where order_id = 3 and activity_type = 'accepted'`, 2, { placed_to_accepted_s: '-1.75', activities: '3' }],
  ] as const)('is right at once after an activity is %s', async (_, change, id, expected) => {
    const [before] = await domain.ask('select sum(cityHash64(*)) as others from {database}.dim_orders where order_id not in (2, 3)');
    await domain.scenario.sql(change);
    expect(await order(id)).toMatchObject(expected);
    expect(await domain.ask('select sum(cityHash64(*)) as others from {database}.dim_orders where order_id not in (2, 3)')).toEqual([before]);
    await domain.expectMarts();
  }); // prettier-ignore

  it('has no row for an order whose last activity is gone, and takes the later row of two at one moment for the last', async () => {
    await domain.scenario.sql(`delete from orders.order_activity where order_id = 4;
      insert into orders.order_activity (order_id, actor, activity_type, at) values
        (5, 'customer', 'placed', now()), (5, 'customer', 'paid', now()), (6, 'customer', 'paid', now()), (6, 'customer', 'placed', now())`);
    await domain.expectMarts();
    expect(await order(4)).toBeUndefined();
    expect(await order(5)).toMatchObject({ last_activity: 'paid', placed_to_paid_s: '0' });
    expect(await order(6)).toMatchObject({ last_activity: 'placed' });
  });
});
