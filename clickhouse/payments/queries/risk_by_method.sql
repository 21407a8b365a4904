-- Question: the same numbers, apart by payment method.
-- Grain:    one row per merchant of `ids` that exists and method with a payment in the window.
-- Cost:     that of the rows it is asked over.
-- Follows:  rows_mart.sql or rows_landing.sql.
select
  merchant_id,
  method,
  countIf(is_rejected = 1) as rejected_count,
  sumIf(amount, is_rejected = 1) as rejected_amount,
  count() as total_count,
  sum(amount) as total_amount
from payments
where merchant_id in (select merchant_id from known)
group by merchant_id, method
order by merchant_id, method
