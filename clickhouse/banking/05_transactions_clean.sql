-- Question: which transactions can be reckoned with, and what is left of each?
-- Grain:    one row per transaction that has no fault and of which something is left.
-- Cost:     a view: two passes over the transactions, one of them for the compensations alone.
--
-- Corrections and cancellations that come as updates and deletes are simply followed. One that comes as a row of its own is taken
-- off the transaction that its label names ("compensates 42"), where that one has the same consumer: `net_amount` is what is left, and sums go
-- by it. A transaction of which nothing is left is in transactions_rejected, as compensated. A compensation is not in here itself.
create view {database}.transactions_clean (
  id Int64 comment 'The transaction',
  amount Decimal(10, 5) comment 'What the consumer paid at first',
  compensation Decimal(38, 5) comment 'What later rows have taken back of it, zero or negative',
  net_amount Decimal(38, 5) comment 'What is left: amount + compensation, above zero',
  creation_date DateTime64(6, 'UTC') comment 'When the transaction was entered',
  execution_date DateTime64(6, 'UTC') comment 'When it was carried out',
  label String comment 'What the bank writes on the statement',
  country_code String comment 'Where it was made, as in ISO 3166-1',
  consumer_id Int32 comment 'Who pays',
  bank_id Int32 comment 'Through which bank',
  merchant_id Nullable(Int32) comment 'Who is paid; null where it is no merchant, as with cash and transfers'
) as
select
  id,
  assumeNotNull(amount) as amount,
  ifNull(compensations.total, 0) as compensation,
  cast(assumeNotNull(faults.amount) as Decimal(38, 5)) + ifNull(compensations.total, 0) as net_amount,
  assumeNotNull(creation_date) as creation_date,
  assumeNotNull(execution_date) as execution_date,
  assumeNotNull(label) as label,
  assumeNotNull(country_code) as country_code,
  assumeNotNull(faults.consumer_id) as consumer_id,
  assumeNotNull(bank_id) as bank_id,
  merchant_id
from (select * from {database}.banking_faults where empty(reasons)) as faults
left join {database}.banking_compensations as compensations
  on compensations.compensated_id = faults.id and compensations.consumer_id = faults.consumer_id
where net_amount > 0
comment 'Transactions without fault, with what is left of each; always current'
