-- Question: which transactions can not be reckoned with, and why?
-- Grain:    one row per transaction within the retention that is not in transactions_clean. The two together are all of them.
-- Cost:     a view: three passes over the transactions, two of them for compensations alone, and a look-up of what these name.
--
-- Reasons, all that apply, in this order: missing field, amount zero, amount negative, amount above the bound, older than retention, in the
-- future, unknown country, unknown party, compensated. The bounds stand in 01_banking_bounds.sql, and what "older than retention" can mean of a row
-- that is still there in 03_banking_faults.sql. Only merchant_id may be missing. "In the future" is said of either date.
--
-- Compensated: later rows have taken back all of it. Such a row is in here too, as negative; where it was booked against its transaction,
-- `compensates` says which. One without it is a negative amount that nothing explains.
create view {database}.transactions_rejected (
  id Int64 comment 'The transaction',
  reasons Array(String) comment 'All that is wrong with it',
  missing_fields Array(String) comment 'Fields that are null or empty and may not be',
  unknown_parties Array(String) comment 'Which of consumer, bank and merchant are not in their tables',
  compensates Nullable(Int64) comment 'The transaction that it takes back, or a part of it; null where there is none',
  amount Nullable(Decimal(10, 5)) comment 'As it was reported',
  creation_date Nullable(DateTime64(6, 'UTC')) comment 'When it was entered',
  execution_date Nullable(DateTime64(6, 'UTC')) comment 'When it was carried out',
  label Nullable(String) comment 'What the bank writes on the statement',
  country_code Nullable(String) comment 'Where it was made',
  consumer_id Nullable(Int32) comment 'Who pays',
  bank_id Nullable(Int32) comment 'Through which bank',
  merchant_id Nullable(Int32) comment 'Who is paid; null where it is no merchant'
) as
select
  id,
  if(is_compensated, arrayPushBack(faults.reasons, 'compensated'), faults.reasons) as reasons,
  missing_fields,
  unknown_parties,
  if(
    (ifNull(faults.compensated_id, 0), ifNull(faults.consumer_id, 0)) in (
      select id, assumeNotNull(consumer_id) from {database}.banking_transactions
      where id in (select compensated_id from {database}.banking_compensations) and amount > 0 and consumer_id is not null),
    faults.compensated_id,
    null
  ) as compensates,
  amount,
  creation_date,
  execution_date,
  label,
  country_code,
  faults.consumer_id as consumer_id,
  bank_id,
  merchant_id
from (
  select
    faults.*,
    ifNull(faults.amount > 0 and faults.amount + compensations.total <= 0, 0) as is_compensated
  from {database}.banking_faults as faults
  left join {database}.banking_compensations as compensations
    on compensations.compensated_id = faults.id and compensations.consumer_id = faults.consumer_id
) as faults
where notEmpty(faults.reasons) or is_compensated
comment 'Transactions with a fault, and with what it is; always current'
