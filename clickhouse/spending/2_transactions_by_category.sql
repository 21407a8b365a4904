-- Question: how much is spent on what?
-- Grain:    one row per category with a transaction, and one (null) for those whose category is not known.
-- Cost:     a view: that of spending_counted.
--
-- `transactions` and `amount` are without declined and reversed ones and without reversals (spending_counted says when that
-- is); `transactions_all` and `amount_all` are with all of them, amounts as they stand.
--
-- tracks: spending.transactions ()
create view {database}.transactions_by_category (
  product_category Nullable(String) comment 'The category; null where it is not known',
  transactions UInt64 comment 'Number of transactions, without declined and reversed ones',
  amount Decimal(38, 4) comment 'Their sum',
  customers UInt64 comment 'Customers who made them',
  transactions_all UInt64 comment 'Number of all transactions, declined and reversed ones among them',
  amount_all Decimal(38, 4) comment 'Sum of all, as they stand'
) as
select
  product_category,
  countIf(counts = 1) as transactions,
  sumIf(transaction_amount, counts = 1) as amount,
  uniqExactIf(customer_id, counts = 1) as customers,
  count() as transactions_all,
  sum(transaction_amount) as amount_all
from {database}.spending_counted
group by product_category
comment 'Spending by category, with and without declined and reversed transactions'
