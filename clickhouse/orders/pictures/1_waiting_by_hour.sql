-- title: How long customers wait, by hour of the day (UTC)
-- shows: line
-- x: hour
-- y: half waited less than, nine in ten less than
-- unit: minutes
select
  formatDateTime(placed_at, '%H:00') as hour,
  round(quantileExact(0.5)(toFloat64(placed_to_delivered_s)) / 60, 1) as `half waited less than`,
  round(quantileExact(0.9)(toFloat64(placed_to_delivered_s)) / 60, 1) as `nine in ten less than`
from {database}.dim_orders
where placed_to_delivered_s >= 0
group by hour
order by hour
