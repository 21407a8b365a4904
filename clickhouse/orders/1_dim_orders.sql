-- Question: when did what happen to an order, and how long did it take?
-- Grain:    one row per order that has an activity.
-- Cost:     a view: a pass over the activities, about half a second a million (2 cores); one order by its id a fifth of that. A
--           materialized view cannot be right here: it would add up what comes, and a time that is corrected, or an activity that is
--           deleted, has to give the order back the activity that stood before.
--
-- The moment of an activity is the first time it was done: a deliverer who arrives twice has arrived the first time. A duration is the
-- difference of two such moments in seconds, to the microsecond; null while one of them is missing, and negative where
-- the later step bears the earlier time, so that a wrong clock shows. Activities of other types count in activities and other_activities,
-- and can be the last one.
--
-- tracks: orders.order_activity ()
-- needs: orders.order_activity (order_id Int, actor String, activity_type String, at DateTime64)
create view {database}.dim_orders (
  order_id Int64 comment 'The order',
  placed_at Nullable(DateTime64(6, 'UTC')) comment 'When the customer placed it',
  paid_at Nullable(DateTime64(6, 'UTC')) comment 'When the customer paid',
  accepted_at Nullable(DateTime64(6, 'UTC')) comment 'When a deliverer accepted it',
  picked_up_at Nullable(DateTime64(6, 'UTC')) comment 'When the deliverer picked it up',
  arrived_at Nullable(DateTime64(6, 'UTC')) comment 'When the deliverer was at the door',
  delivered_at Nullable(DateTime64(6, 'UTC')) comment 'When it was handed over',
  rated_at Nullable(DateTime64(6, 'UTC')) comment 'When the customer rated it',
  cancelled_at Nullable(DateTime64(6, 'UTC')) comment 'When it was cancelled, by whomever',
  placed_to_paid_s Nullable(Decimal(38, 6)) comment 'Seconds from placed to paid',
  placed_to_accepted_s Nullable(Decimal(38, 6)) comment 'Seconds from placed to accepted',
  accepted_to_picked_up_s Nullable(Decimal(38, 6)) comment 'Seconds from accepted to picked up',
  picked_up_to_arrived_s Nullable(Decimal(38, 6)) comment 'Seconds from picked up to arrived',
  arrived_to_delivered_s Nullable(Decimal(38, 6)) comment 'Seconds from arrived to delivered',
  placed_to_delivered_s Nullable(Decimal(38, 6)) comment 'Seconds from placed to delivered: what the customer waits',
  delivered_to_rated_s Nullable(Decimal(38, 6)) comment 'Seconds from delivered to rated',
  placed_to_cancelled_s Nullable(Decimal(38, 6)) comment 'Seconds from placed to cancelled',
  activities UInt64 comment 'All activities of the order',
  other_activities UInt64 comment 'Those of types that have no column here',
  last_activity String comment 'Type of the last one; of several at the same moment the one whose row came last',
  last_actor String comment 'Who did it',
  last_activity_at DateTime64(6, 'UTC') comment 'When'
) as
with
  (moment -> fromUnixTimestamp64Micro(moment, 'UTC')) as at_utc,
  -- Divided as a decimal: no float comes near.
  ((earlier, later) -> toDecimal128(later - earlier, 6) / 1000000) as seconds,
  ['placed', 'paid', 'accepted', 'picked_up', 'arrived', 'delivered', 'rated', 'cancelled'] as known
select
  order_id,
  at_utc(placed) as placed_at,
  at_utc(paid) as paid_at,
  at_utc(accepted) as accepted_at,
  at_utc(picked_up) as picked_up_at,
  at_utc(arrived) as arrived_at,
  at_utc(delivered) as delivered_at,
  at_utc(rated) as rated_at,
  at_utc(cancelled) as cancelled_at,
  seconds(placed, paid) as placed_to_paid_s,
  seconds(placed, accepted) as placed_to_accepted_s,
  seconds(accepted, picked_up) as accepted_to_picked_up_s,
  seconds(picked_up, arrived) as picked_up_to_arrived_s,
  seconds(arrived, delivered) as arrived_to_delivered_s,
  seconds(placed, delivered) as placed_to_delivered_s,
  seconds(delivered, rated) as delivered_to_rated_s,
  seconds(placed, cancelled) as placed_to_cancelled_s,
  activities,
  other_activities,
  last_activity,
  last_actor,
  at_utc(last) as last_activity_at
from (
  select
    order_id,
    minOrNullIf(moment, activity_type = 'placed') as placed,
    minOrNullIf(moment, activity_type = 'paid') as paid,
    minOrNullIf(moment, activity_type = 'accepted') as accepted,
    minOrNullIf(moment, activity_type = 'picked_up') as picked_up,
    minOrNullIf(moment, activity_type = 'arrived') as arrived,
    minOrNullIf(moment, activity_type = 'delivered') as delivered,
    minOrNullIf(moment, activity_type = 'rated') as rated,
    minOrNullIf(moment, activity_type = 'cancelled') as cancelled,
    count() as activities,
    countIf(not has(known, activity_type)) as other_activities,
    argMax(activity_type, (moment, activity_id)) as last_activity,
    argMax(actor, (moment, activity_id)) as last_actor,
    max(moment) as last
  from (
    -- As whole microseconds: what ClickHouse 26.7 compiles of max and min over a DateTime64, from the third time a query runs on,
    -- takes moments before 1970 for later than all others.
    select order_id, activity_id, activity_type, actor, toUnixTimestamp64Micro(at) as moment
    from {database}.orders_order_activity
  )
  group by order_id
)
comment 'One row per order: when each activity was first done, and the seconds between them; always current'
