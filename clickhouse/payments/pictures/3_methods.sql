-- title: Rejected payments by method, last seven days
-- shows: bar
-- x: method
-- y: share
-- unit: % of the payments
select method, toDecimal64(100 * sumIf(payments, status = 'Rejected') / sum(payments), 2) as share
from {database}.payments_daily
where day > toDate(now('UTC')) - 7 and day <= toDate(now('UTC'))
group by method
order by share desc
