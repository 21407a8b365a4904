-- title: Orders by the day they were placed on
-- shows: line
-- x: day
-- y: delivered, cancelled
-- unit: orders
select
  toString(toDate32(placed_at)) as day,
  countIf(delivered_at is not null) as delivered,
  countIf(delivered_at is null and cancelled_at is not null) as cancelled
from {database}.dim_orders
where placed_at > now64(6, 'UTC') - interval 30 day and placed_at <= now64(6, 'UTC')
group by day
order by day
