-- title: Orders of the last 30 days
-- shows: bar
-- x: day
-- y: delivered, under way, cancelled
-- unit: orders
select
  toString(toDate32(placed_at)) as day,
  countIf(delivered_at is not null) as delivered,
  countIf(delivered_at is null and cancelled_at is null) as `under way`,
  countIf(delivered_at is null and cancelled_at is not null) as cancelled
from {database}.dim_orders
where placed_at > now64(6, 'UTC') - interval 30 day
group by day
order by day
