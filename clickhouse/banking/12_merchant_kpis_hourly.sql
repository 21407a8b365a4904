-- Question: how many transactions did a merchant have in an hour, for how much, of how many consumers?
-- Grain:    one row per merchant and hour (UTC) with a clean transaction. Every hour that is shown is whole: the day that
--           retention is cutting through is left out.
-- Cost:     a view over transactions_clean: two passes over the transactions.
--
-- Sums are of what is left of each transaction after compensations. Transactions without a merchant are nobody's.
create view {database}.merchant_kpis_hourly (
  merchant_id Int32 comment 'The merchant',
  hour DateTime('UTC') comment 'Beginning of the hour of the execution date, in UTC',
  transactions UInt64 comment 'Number of clean transactions',
  amount Decimal(38, 5) comment 'Sum of what is left of them, exact',
  consumers UInt64 comment 'Number of different consumers, exact'
) as
select
  assumeNotNull(clean.merchant_id) as merchant_id,
  toStartOfHour(execution_date, 'UTC') as hour,
  count() as transactions,
  sum(net_amount) as amount,
  uniqExact(consumer_id) as consumers
from {database}.transactions_clean as clean
where clean.merchant_id is not null
group by clean.merchant_id, hour
comment 'Clean transactions by merchant and hour; always current'
