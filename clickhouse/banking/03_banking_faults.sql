-- Question: what is wrong with each transaction, looked at by itself?
-- Grain:    one row per transaction within the retention.
-- Cost:     a view: a pass over the transactions and over the ids of the parties. Nothing is kept, so a party that comes or goes, and
--           the clock, change the answer at once.
--
-- Older than retention: a row past its retention is in no view at all, and so in no mart. What this reason says is that the
-- row's day, in UTC, is the one that retention is cutting through now: some of that day's rows are gone, so its numbers would not be whole.
-- A row has this reason for its last day at most, and then it is gone.
--
-- A row that takes another one back ("compensates 42") is negative by nature. Where that is all there is to say against it, it is
-- a compensation; what comes of it is said in transactions_clean and transactions_rejected.
--
-- tracks: banking.transactions ()
-- tracks: banking.consumers ()
-- tracks: banking.merchants ()
-- tracks: banking.banks ()
-- needs: banking.transactions (id Int, amount Decimal, creation_date Date, execution_date Date, label String)
-- needs: banking.transactions (country_code String, consumer_id Int32|Int16, bank_id Int32|Int16, merchant_id Int32|Int16)
-- needs: banking.consumers (id Int32|Int16, prefered_merchants Array)
create view {database}.banking_faults (
  id Int64 comment 'The transaction',
  amount Nullable(Decimal(10, 5)) comment 'What the consumer pays; negative in rows that take another one back',
  creation_date Nullable(DateTime64(6, 'UTC')) comment 'When the transaction was entered',
  execution_date Nullable(DateTime64(6, 'UTC')) comment 'When it was carried out',
  label Nullable(String) comment 'What the bank writes on the statement',
  country_code Nullable(String) comment 'Where it was made',
  consumer_id Nullable(Int32) comment 'Who pays',
  bank_id Nullable(Int32) comment 'Through which bank',
  merchant_id Nullable(Int32) comment 'Who is paid; null where it is no merchant',
  missing_fields Array(String) comment 'Fields that are null or empty and may not be',
  unknown_parties Array(String) comment 'Which of consumer, bank and merchant are not in their tables',
  reasons Array(String) comment 'All that is wrong with it; empty where nothing is',
  compensated_id Nullable(Int64) comment 'Which transaction it takes back; null where it is no compensation'
) as
with
  (select amount_max from {database}.banking_bounds) as highest_amount,
  (select addMinutes(now64(6, 'UTC'), ahead_minutes_max) from {database}.banking_bounds) as latest,
  (select addDays(toDate32(subtractYears(now64(6, 'UTC'), retention_years), 'UTC'), 1) from {database}.banking_bounds) as first_whole_day
select
  id,
  amount,
  creation_date,
  execution_date,
  label,
  country_code,
  consumer_id,
  bank_id,
  merchant_id,
  arrayMap(fault -> fault.1, arrayFilter(fault -> fault.2, [
    ('amount', amount is null),
    ('creation_date', creation_date is null),
    ('execution_date', execution_date is null),
    ('label', ifNull(label, '') = ''),
    ('country_code', ifNull(country_code, '') = ''),
    ('consumer_id', consumer_id is null),
    ('bank_id', bank_id is null)
  ])) as missing_fields,
  arrayMap(fault -> fault.1, arrayFilter(fault -> fault.2, [
    ('consumer', consumer_id is not null and assumeNotNull(consumer_id) not in (select id from {database}.banking_consumers)),
    ('bank', bank_id is not null and assumeNotNull(bank_id) not in (select id from {database}.banking_banks)),
    ('merchant', merchant_id is not null and assumeNotNull(merchant_id) not in (select id from {database}.banking_merchants))
  ])) as unknown_parties,
  arrayMap(fault -> fault.1, arrayFilter(fault -> fault.2, [
    ('missing field', notEmpty(missing_fields)),
    ('amount zero', ifNull(amount = 0, 0)),
    ('amount negative', ifNull(amount < 0, 0)),
    ('amount above the bound', ifNull(amount > highest_amount, 0)),
    ('older than retention', ifNull(execution_date < first_whole_day, 0)),
    ('in the future', ifNull(creation_date > latest, 0) or ifNull(execution_date > latest, 0)),
    ('unknown country', ifNull(country_code, '') != ''
      and ifNull(country_code, '') not in (select code from {database}.banking_countries)),
    ('unknown party', notEmpty(unknown_parties))
  ])) as reasons,
  if(
    reasons = ['amount negative'] and match(ifNull(label, ''), '^compensates [1-9][0-9]{0,17}$'),
    toInt64OrNull(substring(ifNull(label, ''), 13)),
    null
  ) as compensated_id
from {database}.banking_transactions
comment 'Every transaction with what is wrong with it by itself'
