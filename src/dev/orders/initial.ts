import type { ClientBase } from 'pg';
import { reserveIds } from '../id-block.js';
import { DAY, HOUR, MINUTE, type Micros } from '../instant.js';
import { cumulate, Random } from '../random.js';
import { HOURS, insertActivities, STEPS, timeOf, type Activity } from './activity.js';

const ORDERS = 4_000;
const DAYS = 30;
const CHUNK = 5_000;
/** Of a hundred orders so many are cancelled, left without a rating, come without a time of arrival. */
const CANCELLED = 0.06;
const UNRATED = 0.6;
const NO_ARRIVAL = 0.05;

/** Fills the table with the orders of the 30 days before `until`, in one transaction. */
export async function insertInitialData(client: ClientBase, seed: number, until: Micros): Promise<void> {
  const random = new Random(seed, 2);
  const activities: Activity[] = [];
  for (const [index, placedAt] of placings(until, random).entries()) {
    for (const { actor, type, at } of wayOf(placedAt, random)) {
      if (at <= until) activities.push({ id: activities.length + 1, orderId: index + 1, actor, type, at });
    }
  }
  await client.query('begin');
  try {
    for (let from = 0; from < activities.length; from += CHUNK)
      await insertActivities(client, activities.slice(from, from + CHUNK));
    // A program of somebody's own that begins now gets ids behind these.
    await reserveIds(client, 'orders.order_activity', 'activity_id');
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
  await client.query('analyze orders.order_activity');
}

/** When the orders were placed, in their order; by the rhythm of the day. */
function placings(until: Micros, random: Random): Micros[] {
  const byHour = cumulate(HOURS);
  const today = until - (until % DAY);
  return Array.from({ length: ORDERS }, () => {
    const at = today - random.below(DAYS) * DAY + (random.weighted(byHour) + random.next()) * HOUR;
    return Math.floor(at > until ? at - (1 + random.below(DAYS - 1)) * DAY : at);
  }).sort((a, b) => a - b);
}

function* wayOf(placedAt: Micros, random: Random): Generator<Pick<Activity, 'actor' | 'type' | 'at'>> {
  let at = placedAt;
  const cancelledBefore = random.chance(CANCELLED) ? 1 + random.below(4) : STEPS.length;
  for (const [index, { type, actor }] of STEPS.entries()) {
    if (index === cancelledBefore) {
      yield { actor: 'customer', type: 'cancelled', at: at + 3 * MINUTE };
      return;
    }
    if (type === 'arrived' && random.chance(NO_ARRIVAL)) continue;
    if (type === 'rated' && random.chance(UNRATED)) return;
    at += timeOf(index, at, random);
    yield { actor, type, at };
  }
}
