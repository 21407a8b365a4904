-- title: Who takes most, last 30 days
-- shows: bar
-- x: merchant
-- y: amount
-- unit: units of account
select ifNull(names.name, toString(kpis.merchant_id)) as merchant, toDecimal64(kpis.amount, 2) as amount
from (
  select merchant_id, sum(amount) as amount
  from {database}.merchant_kpis_daily
  where day > toDate32(now('UTC')) - 30
  group by merchant_id
  order by amount desc, merchant_id
  limit 12
) as kpis
left join (select id, toNullable(name) as name from {database}.banking_merchants) as names on names.id = kpis.merchant_id
order by kpis.amount desc, kpis.merchant_id
