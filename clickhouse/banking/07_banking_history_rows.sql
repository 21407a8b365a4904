-- Question: what did one consumer do? (Behind consumer_history, which is what to read.)
-- Grain:    one row per transaction under one consumer and one execution date, in its newest version; tombstones are versions too.
-- Cost:     as many rows as landing has; a consumer's are one range of the sort key in each of three or four parts.
--
-- Landing is ordered by transaction, so a consumer's rows are spread all over it; here they lie together. An update of consumer or
-- execution date writes a tombstone with the old image, so the versions under one sort key are a life of their own with one date,
-- and expire together; rows that are delivered again replace themselves. One partition a year of the execution date, so that what expires has
-- little to rewrite, and a look-up few parts to open. Rows without a date stay, as in the table.
--
-- tracks: banking.transactions (consumer_id, execution_date)
create table {database}.banking_history_rows
engine = ReplacingMergeTree(_version, _is_deleted)
partition by toYear(least(greatest(
  ifNull(execution_date, toDateTime64('2100-01-01', 6, 'UTC')), toDateTime64('1970-01-01', 6, 'UTC')), toDateTime64('2100-01-01', 6, 'UTC')))
order by (consumer_id, execution_date, id)
ttl greatest(
  ifNull(addYears(least(execution_date, toDateTime64('2290-01-01', 6, 'UTC')), 2), toDateTime64('2299-01-01', 6, 'UTC')),
  toDateTime64('1970-01-02', 6, 'UTC')) + interval 1 second
settings
  allow_nullable_key = 1, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024, merge_with_ttl_timeout = 72000
empty as
select
  assumeNotNull(consumer_id) as consumer_id,
  execution_date,
  id,
  amount,
  creation_date,
  label,
  country_code,
  bank_id,
  merchant_id,
  _version,
  _is_deleted
from {landing}.banking_transactions
comment 'Versions of the transactions by consumer; read consumer_history instead'
