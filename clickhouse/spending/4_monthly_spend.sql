-- Question: how much was spent in each month of the past year?
-- Grain:    one row per calendar month (UTC), the present one and the eleven before it; a month without spend is a row of zeros.
-- Cost:     a view: that of spending_counted. A row that arrives late, or whose date is corrected, is in its own month at once.
--
-- `transactions` and `amount` are without declined and reversed ones; `transactions_all` and `amount_all` with them. What is
-- dated beyond now is in the present month if its date is.
--
-- tracks: spending.transactions ()
create view {database}.monthly_spend (
  month Date32 comment 'First day of the month, in UTC',
  transactions UInt64 comment 'Number of transactions, without declined and reversed ones',
  amount Decimal(38, 4) comment 'Their sum',
  transactions_all UInt64 comment 'Number of all transactions, declined and reversed ones among them',
  amount_all Decimal(38, 4) comment 'Sum of all, as they stand',
  is_complete UInt8 comment '0: the present month, which goes on'
) as
select
  months.month as month,
  spent.transactions as transactions,
  spent.amount as amount,
  spent.transactions_all as transactions_all,
  spent.amount_all as amount_all,
  months.month <> toDate32(toStartOfMonth(now('UTC'))) as is_complete
from (
  select addMonths(toDate32(toStartOfMonth(now('UTC'))), -number) as month
  from numbers(12)
) as months
left join (
  select
    subtractDays(toDate32(transaction_date), toDayOfMonth(transaction_date) - 1) as month,
    countIf(counts = 1) as transactions,
    sumIf(transaction_amount, counts = 1) as amount,
    count() as transactions_all,
    sum(transaction_amount) as amount_all
  from {database}.spending_counted
  group by month
) as spent on spent.month = months.month
comment 'Spending by month over the past year, with and without declined and reversed transactions'
