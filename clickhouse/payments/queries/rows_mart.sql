-- Question: which payments were in a window at a WAL position, and which merchants existed then?
-- Grain:    `known`, one row per merchant; `payments`, one row per payment. What follows them asks for numbers.
-- Cost:     one range of the mart's sort key a merchant, read backwards in its order, so that the newest version of
--           each payment below the position comes first and nothing is sorted or kept in a hash table; with `every`, the whole mart.
-- Takes:    ids Array(Int64), every Bool (all merchants and not only those), from and to DateTime64 (from < payment_date <= to),
--           version_bound UInt128 (versions below it count), database Identifier.
with
  known as (
    select merchant_id
    from {database:Identifier}.merchants_known
    where ({every:Bool} or merchant_id in {ids:Array(Int64)}) and _version < {version_bound:UInt128}
    group by merchant_id
    having argMax(_is_deleted, _version) = 0
  ),
  newest as (
    select merchant_id, payment_id, payment_date, method, is_rejected, amount, _is_deleted
    from {database:Identifier}.payments_7d
    where ({every:Bool} or merchant_id in {ids:Array(Int64)})
      and payment_date > {from:DateTime64(6, 'UTC')}
      and payment_date <= {to:DateTime64(6, 'UTC')}
      and _version < {version_bound:UInt128}
    order by merchant_id desc, payment_date desc, payment_id desc, _version desc
    limit 1 by merchant_id, payment_date, payment_id
  ),
  payments as (
    select merchant_id, payment_id, payment_date, method, is_rejected, amount
    from newest
    where _is_deleted = 0
  )
