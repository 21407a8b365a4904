with first_time as (
  select order_id, activity_type, min(at) as at from orders.order_activity group by order_id, activity_type
),
last_one as (
  select distinct on (order_id) order_id, activity_type, actor, at
  from orders.order_activity
  order by order_id, at desc, activity_id desc
)
select
  last_one.order_id,
  placed.at as placed_at, paid.at as paid_at, accepted.at as accepted_at, picked_up.at as picked_up_at, arrived.at as arrived_at,
  delivered.at as delivered_at, rated.at as rated_at, cancelled.at as cancelled_at,
  extract(epoch from paid.at - placed.at) as placed_to_paid_s,
  extract(epoch from accepted.at - placed.at) as placed_to_accepted_s,
  extract(epoch from picked_up.at - accepted.at) as accepted_to_picked_up_s,
  extract(epoch from arrived.at - picked_up.at) as picked_up_to_arrived_s,
  extract(epoch from delivered.at - arrived.at) as arrived_to_delivered_s,
  extract(epoch from delivered.at - placed.at) as placed_to_delivered_s,
  extract(epoch from rated.at - delivered.at) as delivered_to_rated_s,
  extract(epoch from cancelled.at - placed.at) as placed_to_cancelled_s,
  (select count(*) from orders.order_activity a where a.order_id = last_one.order_id) as activities,
  (
    select count(*) from orders.order_activity a
    where a.order_id = last_one.order_id
      and a.activity_type not in ('placed', 'paid', 'accepted', 'picked_up', 'arrived', 'delivered', 'rated', 'cancelled')
  ) as other_activities,
  last_one.activity_type as last_activity,
  last_one.actor as last_actor,
  last_one.at as last_activity_at
from last_one
left join first_time placed on placed.order_id = last_one.order_id and placed.activity_type = 'placed'
left join first_time paid on paid.order_id = last_one.order_id and paid.activity_type = 'paid'
left join first_time accepted on accepted.order_id = last_one.order_id and accepted.activity_type = 'accepted'
left join first_time picked_up on picked_up.order_id = last_one.order_id and picked_up.activity_type = 'picked_up'
left join first_time arrived on arrived.order_id = last_one.order_id and arrived.activity_type = 'arrived'
left join first_time delivered on delivered.order_id = last_one.order_id and delivered.activity_type = 'delivered'
left join first_time rated on rated.order_id = last_one.order_id and rated.activity_type = 'rated'
left join first_time cancelled on cancelled.order_id = last_one.order_id and cancelled.activity_type = 'cancelled'
