-- title: Spend by month
-- shows: line
-- x: month
-- y: counted, with declined and reversed
-- unit: amount
select toString(month) as month, amount as counted, amount_all as `with declined and reversed`
from {database}.monthly_spend
order by monthly_spend.month
