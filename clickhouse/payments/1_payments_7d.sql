-- Question: what happened to a merchant's payments in the windows that are asked for, 168 hours above all, as of any WAL position of that time?
-- Grain:    one row per version of a payment under one merchant and one date; tombstones are versions too.
-- Cost:     about two rows a payment for the days of the horizon (risk.horizon); a merchant's window is one range of the sort key.
--
-- Every version is kept, since `_version` is part of the sort key: a query that counts only versions below its
-- position sees exactly the source at that position, and rows that are delivered again replace themselves. An
-- update of merchant or date writes a tombstone with the old image, so the versions of one (merchant, date,
-- payment) are a life of their own: the window may be cut off before versions are compared, and they expire
-- together. Types are the source's, so any Decimal stays exact.
--
-- tracks: public.payments (merchant_id, payment_date)
-- needs: public.payments (payment_id Int, merchant_id Int, payment_date Date, method String, status String, amount Decimal)
create table {database}.payments_7d
engine = ReplacingMergeTree
order by (merchant_id, payment_date, payment_id, _version)
ttl least(payment_date, toDateTime64('2299-01-01', 6, 'UTC')) + interval {horizon_days} day
settings fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 120, index_granularity = 1024
empty as
select
  toInt64(assumeNotNull(merchant_id)) as merchant_id,
  toDateTime64(assumeNotNull(payment_date), 6, 'UTC') as payment_date,
  toInt64(assumeNotNull(payment_id)) as payment_id,
  _version,
  _is_deleted,
  cast(method as LowCardinality(Nullable(String))) as method,
  toUInt8(ifNull(cast(status as Nullable(String)) = 'Rejected', 0)) as is_rejected,
  assumeNotNull(amount) as amount
from {landing}.payments
comment 'Every version of the payments of the last {horizon_days} days, by merchant'
