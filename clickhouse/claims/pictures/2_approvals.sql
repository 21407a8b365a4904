-- title: Approved by month, without suspicious claims
-- shows: line
-- x: month
-- y: benefit, voucher
-- unit: KES
select
  toString(month) as month,
  sumIf(approved_amount, type = 'Benefit') as benefit,
  sumIf(approved_amount, type = 'Voucher') as voucher
from {database}.approvals_monthly
where approvals_monthly.month > toDate32(now('UTC')) - interval 3 year and approvals_monthly.month <= toDate32(now('UTC'))
group by approvals_monthly.month
order by approvals_monthly.month
limit 40
