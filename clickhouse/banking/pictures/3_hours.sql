-- title: Transactions with merchants, hour by hour, last two days
-- shows: line
-- x: hour
-- y: transactions
-- unit: transactions
select hour, sum(transactions) as transactions
from {database}.merchant_kpis_hourly
where hour > now('UTC') - interval 48 hour
group by hour
order by hour
with fill step interval 1 hour
