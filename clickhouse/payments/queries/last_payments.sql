-- Question: which payments of these merchants came last in the window?
-- Grain:    one row per payment, the latest first, at most `last`.
-- Cost:     that of the rows it is asked over.
-- Takes:    last UInt32, and what the rows take.
-- Follows:  rows_mart.sql or rows_landing.sql.
select
  toString(payment_id) as payment_id,
  concat(replaceOne(toString(payment_date, 'UTC'), ' ', 'T'), 'Z') as payment_date,
  amount,
  method,
  is_rejected
from payments
where merchant_id in (select merchant_id from known)
order by payments.payment_date desc, payments.payment_id desc
limit {last:UInt32}
