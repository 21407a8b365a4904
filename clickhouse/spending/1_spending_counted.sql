-- Question: which transactions count, and which were declined or taken back?
-- Grain:    one row per transaction.
-- Cost:     a view: a pass over the transactions and one over the reversals among them.
--
-- A transaction does NOT count when it is declined, when it is reversed, or when it is itself a reversal (it has `reverses`): the pair is
-- left out together, since the original without its negative, or the negative alone, would be wrong either way. Reversed is what
-- has the status reversed, and from the moment of its commit also what an approved reversal of the same customer names, whether or not the
-- status has followed. A reversal that is itself declined or reversed takes nothing back. Pending transactions count. The
-- original of a reversal over another amount does not count either; reversals lists such pairs.
--
-- tracks: spending.transactions ()
-- needs: spending.transactions (transaction_amount Decimal)
create view {database}.spending_counted (
  transaction_id Int64 comment 'The transaction',
  customer_id Int64 comment 'The customer, whose account it is',
  transaction_date DateTime64(6, 'UTC') comment 'When it was made',
  transaction_amount Decimal(38, 4) comment 'Its amount, negative where money goes back',
  product_category Nullable(String) comment 'What was bought; null where that is not known',
  transaction_type String comment 'purchase, refund, fee, ...',
  status String comment 'pending, approved, declined or reversed',
  reverses Nullable(Int64) comment 'The transaction that it takes back, if it is a reversal',
  is_reversed UInt8 comment '1: taken back, by its status or by an approved reversal of the same customer',
  counts UInt8 comment '1: neither declined nor reversed, and no reversal'
) as
select
  transaction_id,
  customer_id,
  transaction_date,
  transaction_amount,
  cast(product_category as Nullable(String)) as product_category,
  cast(transaction_type as String) as transaction_type,
  cast(status as String) as status,
  reverses,
  status = 'reversed' or taken.back = 1 as is_reversed,
  status <> 'declined' and is_reversed = 0 and reverses is null as counts
from {database}.spending_transactions as transactions
left join (
  select distinct assumeNotNull(reverses) as original, customer_id as customer, 1 as back
  from {database}.spending_transactions
  where reverses is not null and status = 'approved'
) as taken on taken.original = transactions.transaction_id and taken.customer = transactions.customer_id
comment 'Transactions with whether they count: neither declined nor reversed, and no reversal'
