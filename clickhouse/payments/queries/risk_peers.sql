-- Question: the numbers of other merchants of similar volume, added up: those that exist and have at least half and at most
--           twice as many payments in the window.
-- Grain:    one row per merchant of `asked` that has such a peer.
-- Cost:     that of the rows it is asked over, which have to be those of every merchant; then `asked` times merchants.
-- Takes:    asked Array(Tuple(Int64, UInt64)): merchants with their number of payments in the window, at the same position.
-- Follows:  rows_mart.sql or rows_landing.sql, with every = true.
select
  asked.1 as merchant_id,
  count() as merchants,
  sum(peer.rejected_count) as rejected_count,
  sum(peer.rejected_amount) as rejected_amount,
  sum(peer.total_count) as total_count,
  sum(peer.total_amount) as total_amount
from (select arrayJoin({asked:Array(Tuple(Int64, UInt64))}) as asked) as question
cross join (
  select
    merchant_id,
    countIf(is_rejected = 1) as rejected_count,
    sumIf(amount, is_rejected = 1) as rejected_amount,
    count() as total_count,
    sum(amount) as total_amount
  from payments
  where merchant_id in (select merchant_id from known)
  group by merchant_id
) as peer
where peer.merchant_id <> asked.1
  and 2 * peer.total_count >= asked.2
  and peer.total_count <= 2 * asked.2
group by asked.1
