-- Question: how many payments were there, for how much, by merchant, day, method and status?
-- Grain:    one row per merchant, day (UTC), method and status that has a payment within the retention.
-- Cost:     a view: a pass over the columns named here of the payments table, less where a question names days
--           (partitions by payment_date are passed over). Nothing is kept that could be wrong.
--
-- tracks: public.payments ()
create view {database}.payments_daily (
  merchant_id Int64 comment 'The merchant that is paid',
  day Date32 comment 'Day of the payment date, in UTC',
  method String comment 'Visa, Mastercard, Check, ...',
  status String comment 'Pending, Paid or Rejected',
  payments UInt64 comment 'Number of payments',
  amount Decimal(38, 2) comment 'Their sum, exact'
) as
select
  merchant_id,
  toDate32(payment_date, 'UTC') as day,
  cast(method as String) as method,
  cast(status as String) as status,
  count() as payments,
  sum(amount) as amount
from {database}.payments
group by merchant_id, day, method, status
comment 'Payments by merchant, day, method and status; always current'
