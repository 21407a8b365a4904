-- Question: which merchants had an abundance of rejected payments in the last seven days?
-- Grain:    one row per merchant with at least 20 payments in the window; rank 1 has the largest share by count, then by amount,
--           then the smaller id.
-- Cost:     a view: a pass over the last seven days of the payments table.
--
-- The window ends now and begins 168 hours ago, `from < payment_date <= to`, as in the API. A share is a float for ranking and
-- reading; the numbers that it is made of stand beside it and are exact.
--
-- tracks: public.payments ()
-- tracks: public.merchants ()
create view {database}.merchants_by_rejection (
  rank UInt64 comment '1: the largest share of rejected payments',
  merchant_id Int64 comment 'The merchant',
  name Nullable(String) comment 'Its name; null where there is no such merchant',
  rejected_count UInt64 comment 'Rejected payments of the last 168 hours',
  total_count UInt64 comment 'All payments of the last 168 hours',
  rejected_amount Decimal(38, 2) comment 'Amount of the rejected ones',
  total_amount Decimal(38, 2) comment 'Amount of all',
  rejected_share Float64 comment 'rejected_count / total_count'
) as
select
  row_number() over (order by rejected_share desc, rejected_amount desc, merchant_id) as rank,
  merchant_id,
  names.name as name,
  rejected_count,
  total_count,
  rejected_amount,
  total_amount,
  rejected_count / total_count as rejected_share
from (
  select
    merchant_id,
    countIf(status = 'Rejected') as rejected_count,
    count() as total_count,
    sumIf(amount, status = 'Rejected') as rejected_amount,
    sum(amount) as total_amount
  from {database}.payments
  where payment_date > now64(6, 'UTC') - interval 168 hour and payment_date <= now64(6, 'UTC')
  group by merchant_id
  having total_count >= 20
) as numbers
left join (select merchant_id, toNullable(name) as name from {database}.merchants) as names
  on names.merchant_id = numbers.merchant_id
comment 'Merchants with at least 20 payments in the last seven days, by their share of rejected ones'
