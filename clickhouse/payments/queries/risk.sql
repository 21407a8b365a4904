-- Question: how many payments in the window did each merchant get, how many were rejected, and for how much?
-- Grain:    one row per merchant of `ids` that exists; zeros for one without payments.
-- Cost:     that of the rows it is asked over.
-- Follows:  rows_mart.sql or rows_landing.sql.
select
  known.merchant_id as merchant_id,
  numbers.rejected_count as rejected_count,
  numbers.rejected_amount as rejected_amount,
  numbers.total_count as total_count,
  numbers.total_amount as total_amount
from known
left join (
  select
    merchant_id,
    countIf(is_rejected = 1) as rejected_count,
    sumIf(amount, is_rejected = 1) as rejected_amount,
    count() as total_count,
    sum(amount) as total_amount
  from payments
  group by merchant_id
) as numbers on numbers.merchant_id = known.merchant_id
