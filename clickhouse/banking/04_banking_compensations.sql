-- Question: how much was taken back of each transaction by rows of their own?
-- Grain:    one row per transaction that a compensation names, and consumer; whether there is such a transaction is not asked.
-- Cost:     a view: a pass over the transactions.
create view {database}.banking_compensations (
  compensated_id Int64 comment 'The transaction that is named',
  consumer_id Int32 comment 'Whose it must be for the compensation to count',
  total Decimal(38, 5) comment 'Sum of the amounts, negative'
) as
select
  assumeNotNull(faults.compensated_id) as compensated_id,
  assumeNotNull(faults.consumer_id) as consumer_id,
  sum(assumeNotNull(amount)) as total
from {database}.banking_faults as faults
-- The first two say nothing new; they spare most rows the reckoning of faults.
where amount < 0 and startsWith(ifNull(label, ''), 'compensates ') and faults.compensated_id is not null
group by faults.compensated_id, faults.consumer_id
comment 'What compensating rows take back, by the transaction that they name'
