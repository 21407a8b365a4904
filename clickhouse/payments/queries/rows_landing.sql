-- Question: which payments are in a window older than the mart, and which merchants exist, as of what is stored?
-- Grain:    `known`, one row per merchant; `payments`, one row per payment. What follows them asks for numbers.
-- Cost:     a pass over the payments table with FINAL; ask it rarely, and while nothing is being stored, since landing
--           keeps no older versions to answer at a position.
-- Takes:    ids Array(Int64), every Bool (all merchants and not only those), from and to DateTime64 (from < payment_date <= to),
--           landing Identifier.
with
  known as (
    select toInt64(assumeNotNull(merchant_id)) as merchant_id
    from {landing:Identifier}.merchants final
    where _is_deleted = 0 and ({every:Bool} or merchants.merchant_id in {ids:Array(Int64)})
    group by merchant_id
  ),
  payments as (
    select
      toInt64(assumeNotNull(merchant_id)) as merchant_id,
      payment_id,
      payment_date,
      cast(method as Nullable(String)) as method,
      ifNull(cast(status as Nullable(String)) = 'Rejected', 0) as is_rejected,
      ifNull(amount, 0) as amount
    from {landing:Identifier}.payments final
    where _is_deleted = 0
      and payments.merchant_id is not null
      and ({every:Bool} or payments.merchant_id in {ids:Array(Int64)})
      and payment_date > {from:DateTime64(6, 'UTC')}
      and payment_date <= {to:DateTime64(6, 'UTC')}
  )
