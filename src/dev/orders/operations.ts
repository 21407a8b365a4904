import { HOUR, MINUTE, SECOND, type Micros } from '../instant.js';
import { cumulate, type Random } from '../random.js';
import { asTransaction, type Operation } from '../traffic.js';
import { insertActivities, STEPS, timeOf, type Activity } from './activity.js';
import type { Book, KnownOrder } from './book.js';

interface Scene {
  readonly book: Book;
  readonly random: Random;
  readonly now: Micros;
}

type Run = Operation['run'];
/** Null where nothing suits it now: an order is placed then. */
type Make = (scene: Scene) => Run | null;

/** Types that no mart has a column for. */
const OTHERS = ['note', 'photo', 'called_customer'];

/** Each kind with how often it comes, relative to the others. */
const KINDS: Readonly<Record<string, readonly [weight: number, make: Make]>> = {
  place: [18, place],
  go_on: [45, goOn],
  cancel: [3, cancel],
  remark: [4, remark],
  repeat: [4, repeat],
  correct_time: [9, correctTime],
  correct_type: [3, correctType],
  wrong_order: [2, wrongOrder],
  take_back: [5, takeBack],
  out_of_reach: [3, outOfReach],
  forget: [1, forget],
  roll_back: [2, rollBack],
};
const NAMES = Object.keys(KINDS);
const WEIGHTS = cumulate(NAMES.map((name) => KINDS[name]![0]));

/** The next transaction of the sequence; moves the book on. */
export function nextOperation(book: Book, random: Random, now: Micros): Operation {
  const scene: Scene = { book, random, now };
  const kind = NAMES[random.weighted(WEIGHTS)]!;
  const run = KINDS[kind]![1](scene);
  return run === null ? { kind: 'place', run: place(scene) } : { kind, run };
}

function inserting(...activities: readonly Activity[]): Run {
  return (client) => insertActivities(client, activities);
}

function statement(text: string, values: readonly unknown[]): Run {
  return async (client) => (await client.query({ text, values: [...values] })).rowCount ?? 0;
}

function newOrder({ book, now }: Scene): KnownOrder {
  return { id: book.nextOrderId++, step: 0, lastAt: now, activities: [] };
}

/** The next step of an order's usual way, at this moment. */
function advance(book: Book, order: KnownOrder, at: Micros): Activity {
  const { type, actor } = STEPS[order.step++]!;
  order.lastAt = at;
  return book.activity(order, type, actor, at);
}

function place(scene: Scene): Run {
  const order = newOrder(scene);
  scene.book.add(order);
  return inserting(advance(scene.book, order, scene.now));
}

const underWay = ({ step }: KnownOrder): boolean => step < STEPS.length;
const hasActivities = ({ activities }: KnownOrder): boolean => activities.length > 0;

function goOn({ book, random, now }: Scene): Run | null {
  const order = book.pick(random, underWay);
  return order === undefined ? null : inserting(advance(book, order, now));
}

function cancel({ book, random, now }: Scene): Run | null {
  const order = book.pick(random, underWay);
  if (order === undefined) return null;
  order.step = STEPS.length;
  const actor = random.chance(0.8) ? 'customer' : 'deliverer';
  return inserting(book.activity(order, 'cancelled', actor, now));
}

function remark({ book, random, now }: Scene): Run | null {
  const order = book.pick(random, () => true);
  if (order === undefined) return null;
  return inserting(book.activity(order, random.pick(OTHERS), 'deliverer', now));
}

/** A second attempt: the door was closed. Or the same moment, sent twice by a device that got no answer. */
function repeat({ book, random, now }: Scene): Run | null {
  const order = book.pick(random, ({ step }) => step > 0 && step < STEPS.length);
  if (order === undefined) return null;
  const { type, actor } = STEPS[order.step - 1]!;
  return inserting(book.activity(order, type, actor, random.chance(0.5) ? order.lastAt : now));
}

function onActivity({ book, random }: Scene, make: (id: number, at: Micros) => Run): Run | null {
  const order = book.pick(random, hasActivities);
  if (order === undefined) return null;
  const { id, at } = random.pick(order.activities);
  return make(id, at);
}

/** Forth or back, by a clock that was wrong, and sometimes by hours. */
function correctTime(scene: Scene): Run | null {
  const { random } = scene;
  const by = Math.floor(random.normal() * (random.chance(0.2) ? 6 * HOUR : 5 * MINUTE));
  return onActivity(scene, (id, at) =>
    statement(
      `update orders.order_activity
       set at = timestamptz '1970-01-01 00:00:00+00' + $2::bigint * interval '1 microsecond' where activity_id = $1`,
      [id, at + by],
    ),
  );
}

function correctType(scene: Scene): Run | null {
  const { type, actor } = scene.random.pick(STEPS);
  return onActivity(scene, (id) =>
    statement('update orders.order_activity set activity_type = $2, actor = $3 where activity_id = $1', [
      id,
      type,
      actor,
    ]),
  );
}

/** An activity that was booked on another customer's order. */
function wrongOrder(scene: Scene): Run | null {
  const other = scene.book.pick(scene.random, () => true);
  if (other === undefined) return null;
  return onActivity(scene, (id) =>
    statement('update orders.order_activity set order_id = $2 where activity_id = $1', [id, other.id]),
  );
}

function takeBack({ book, random }: Scene): Run | null {
  const order = book.pick(random, hasActivities);
  const activity = order?.activities.pop();
  if (activity === undefined) return null;
  return statement('delete from orders.order_activity where activity_id = $1', [activity.id]);
}

/** A deliverer without a connection sends the rest of the way at once, later than it was. */
function outOfReach({ book, random, now }: Scene): Run | null {
  const order = book.pick(random, ({ step }) => step > 1 && step < STEPS.length - 1);
  if (order === undefined) return null;
  const activities: Activity[] = [];
  let at = Math.max(order.lastAt + SECOND, now - HOUR);
  while (order.step < STEPS.length - 1) {
    at += timeOf(order.step, at, random);
    activities.push(advance(book, order, at));
  }
  return (client) =>
    asTransaction(
      client,
      true,
      activities.map((activity) => () => insertActivities(client, [activity])),
    );
}

/** All that is known of an order, at the customer's wish. */
function forget({ book, random }: Scene): Run | null {
  const order = book.pick(random, () => true);
  if (order === undefined) return null;
  book.remove(order);
  return statement('delete from orders.order_activity where order_id = $1', [order.id]);
}

/** Written, and taken back: nobody may ever see it. */
function rollBack(scene: Scene): Run {
  const order = newOrder(scene);
  const activities = [0, 1].map((step) => advance(scene.book, order, scene.now + step * MINUTE));
  return (client) => asTransaction(client, false, [() => insertActivities(client, activities)]);
}
