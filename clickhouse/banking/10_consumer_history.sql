-- Question: what did a consumer do?
-- Grain:    one row per transaction that has a consumer, within the retention, sound or not.
-- Cost:     `where consumer_id = 42` reads a few thousand rows, however many there are, since it is read from a table
--           ordered by consumer (07_banking_history_rows.sql); without a consumer it is a pass over everything.
--
-- The two years are those of the configuration, cut to the microsecond as in the table's own view.
create view {database}.consumer_history (
  consumer_id Int32 comment 'Who pays',
  execution_date Nullable(DateTime64(6, 'UTC')) comment 'When it was carried out',
  id Int64 comment 'The transaction',
  amount Nullable(Decimal(10, 5)) comment 'As it was reported; negative in rows that take another one back',
  creation_date Nullable(DateTime64(6, 'UTC')) comment 'When it was entered',
  label Nullable(String) comment 'What the bank writes on the statement',
  country_code Nullable(String) comment 'Where it was made',
  bank_id Nullable(Int32) comment 'Through which bank',
  merchant_id Nullable(Int32) comment 'Who is paid; null where it is no merchant'
) as
select consumer_id, execution_date, id, amount, creation_date, label, country_code, bank_id, merchant_id
from {database}.banking_history_rows final
where _is_deleted = 0
  and (execution_date is null or addYears(least(execution_date, toDateTime64('2290-01-01', 6, 'UTC')), 2) > now64(6, 'UTC'))
comment 'All transactions of a consumer within the retention; fast by consumer, always current'
