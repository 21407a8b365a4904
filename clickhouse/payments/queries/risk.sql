-- Question: the seven-day numbers of some merchants, as of a WAL position.
-- Grain:    one row per merchant of `ids` that existed at the position.
-- Cost:     one range of the mart's sort key a merchant, read backwards in its order, so that the newest version of
--           each payment below the position comes first and nothing is sorted or kept in a hash table.
-- Takes:    ids Array(Int64), from and to DateTime64 (from < payment_date <= to), version_bound UInt128 (versions
--           below it count), database Identifier.
with
  known as (
    select merchant_id
    from {database:Identifier}.merchants_known
    where merchant_id in {ids:Array(Int64)} and _version < {version_bound:UInt128}
    group by merchant_id
    having argMax(_is_deleted, _version) = 0
  ),
  newest as (
    select merchant_id, is_rejected, amount, _is_deleted
    from {database:Identifier}.payments_7d
    where merchant_id in {ids:Array(Int64)}
      and payment_date > {from:DateTime64(6, 'UTC')}
      and payment_date <= {to:DateTime64(6, 'UTC')}
      and _version < {version_bound:UInt128}
    order by merchant_id desc, payment_date desc, payment_id desc, _version desc
    limit 1 by merchant_id, payment_date, payment_id
  ),
  numbers as (
    select
      merchant_id,
      countIf(is_rejected = 1) as rejected_count,
      sumIf(amount, is_rejected = 1) as rejected_amount,
      count() as total_count,
      sum(amount) as total_amount
    from newest
    where _is_deleted = 0
    group by merchant_id
  )
select known.merchant_id as merchant_id, rejected_count, rejected_amount, total_count, total_amount
from known
left join numbers on numbers.merchant_id = known.merchant_id
