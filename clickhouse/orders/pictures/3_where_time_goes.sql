-- title: Where the time goes
-- shows: table
select
  step,
  count() as orders,
  round(quantileExact(0.5)(seconds) / 60, 1) as `minutes, half below`,
  round(quantileExact(0.9)(seconds) / 60, 1) as `nine in ten below`,
  countIf(seconds < 0) as `against the clock`
from (
  select
    arrayJoin([
      ('1. placed to accepted', toFloat64(placed_to_accepted_s)),
      ('2. accepted to picked up', toFloat64(accepted_to_picked_up_s)),
      ('3. picked up to arrived', toFloat64(picked_up_to_arrived_s)),
      ('4. arrived to delivered', toFloat64(arrived_to_delivered_s))
    ]) as pair,
    pair.1 as step,
    assumeNotNull(pair.2) as seconds
  from {database}.dim_orders
  where pair.2 is not null
)
group by step
order by step
