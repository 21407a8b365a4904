-- Question: which five accounts spend most?
-- Grain:    one row per account that is among the first five in either way of counting.
-- Cost:     a view: that of spending_counted.
--
-- Ranks are those of a competition (1, 2, 2, 4): accounts with equal totals share one, `tied` says how many share it, and all that
-- share the fifth place are shown, so there may be more than five. `rank` and what goes with it are without declined and reversed
-- transactions, `rank_all` and its own with them; a rank is null where the account is not among the first five that way.
--
-- tracks: spending.transactions ()
create view {database}.top_accounts (
  customer_id Int64 comment 'The account',
  rank Nullable(UInt64) comment '1: the largest total without declined and reversed transactions; null: not among the first five',
  amount Decimal(38, 4) comment 'That total',
  transactions UInt64 comment 'Number of transactions in it',
  tied UInt64 comment 'Accounts with exactly this total; 1: no tie',
  rank_all Nullable(UInt64) comment '1: the largest total of all transactions; null: not among the first five',
  amount_all Decimal(38, 4) comment 'That total, amounts as they stand',
  transactions_all UInt64 comment 'Number of transactions in it',
  tied_all UInt64 comment 'Accounts with exactly this total; 1: no tie'
) as
select
  customer_id,
  if(place <= 5, toNullable(place), null) as rank,
  amount,
  transactions,
  tied,
  if(place_all <= 5, toNullable(place_all), null) as rank_all,
  amount_all,
  transactions_all,
  tied_all
from (
  select
    *,
    rank() over (order by amount desc) as place,
    count() over (partition by amount) as tied,
    rank() over (order by amount_all desc) as place_all,
    count() over (partition by amount_all) as tied_all
  from (
    select
      customer_id,
      sumIf(transaction_amount, counts = 1) as amount,
      countIf(counts = 1) as transactions,
      sum(transaction_amount) as amount_all,
      count() as transactions_all
    from {database}.spending_counted
    group by customer_id
  ) as totals
) as placed
where place <= 5 or place_all <= 5
comment 'The five accounts with the largest totals, with and without declined and reversed transactions; ties are shown'
