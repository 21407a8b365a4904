-- title: Payments by day, last four weeks
-- shows: line
-- x: day
-- y: paid, pending, rejected
-- unit: payments
select
  formatDateTime(day, '%d %b') as day,
  sumIf(payments, status = 'Paid') as paid,
  sumIf(payments, status = 'Pending') as pending,
  sumIf(payments, status = 'Rejected') as rejected
from {database}.payments_daily
where payments_daily.day > toDate(now('UTC')) - 28 and payments_daily.day <= toDate(now('UTC'))
group by payments_daily.day
order by payments_daily.day
