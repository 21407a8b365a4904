-- title: Transactions with merchants, hour by hour, last two days
-- shows: line
-- x: hour
-- y: transactions
-- unit: transactions
select formatDateTime(moment, '%d %b %H:00') as hour, transactions
from (
  select kpis.hour as moment, sum(kpis.transactions) as transactions
  from {database}.merchant_kpis_hourly as kpis
  where kpis.hour > now('UTC') - interval 48 hour
  group by moment
  order by moment with fill step interval 1 hour
)
order by moment
