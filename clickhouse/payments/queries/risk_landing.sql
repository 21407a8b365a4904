-- Question: the seven-day numbers of some merchants for a window older than the mart, as of what is stored.
-- Grain:    one row per merchant of `ids` that exists.
-- Cost:     a pass over the payments table with FINAL; ask it rarely, and while nothing is being stored, since landing
--           keeps no older versions to answer at a position.
-- Takes:    ids Array(Int64), from and to DateTime64 (from < payment_date <= to), landing Identifier.
with
  known as (
    select toInt64(assumeNotNull(merchant_id)) as merchant_id
    from {landing:Identifier}.merchants final
    where _is_deleted = 0 and merchants.merchant_id in {ids:Array(Int64)}
    group by merchant_id
  ),
  numbers as (
    select
      toInt64(assumeNotNull(merchant_id)) as merchant_id,
      countIf(ifNull(status = 'Rejected', 0)) as rejected_count,
      sumIf(ifNull(amount, 0), ifNull(status = 'Rejected', 0)) as rejected_amount,
      count() as total_count,
      sum(ifNull(amount, 0)) as total_amount
    from {landing:Identifier}.payments final
    where _is_deleted = 0
      and payments.merchant_id in {ids:Array(Int64)}
      and payment_date > {from:DateTime64(6, 'UTC')}
      and payment_date <= {to:DateTime64(6, 'UTC')}
    group by merchant_id
  )
select known.merchant_id as merchant_id, rejected_count, rejected_amount, total_count, total_amount
from known
left join numbers on numbers.merchant_id = known.merchant_id
