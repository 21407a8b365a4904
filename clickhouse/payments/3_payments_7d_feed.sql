-- Feeds payments_7d with every version as it is stored. Dates to come are let in: they enter the window by the
-- clock. A payment without merchant or date is in nobody's window;
-- which is asked of landing's columns by name, since those selected are called the same and are never null.
create materialized view {database}.payments_7d_feed to {database}.payments_7d as
select
  toInt64(assumeNotNull(merchant_id)) as merchant_id,
  toDateTime64(assumeNotNull(payment_date), 6, 'UTC') as payment_date,
  toInt64(assumeNotNull(payment_id)) as payment_id,
  _version,
  _is_deleted,
  cast(method as LowCardinality(Nullable(String))) as method,
  toUInt8(ifNull(cast(status as Nullable(String)) = 'Rejected', 0)) as is_rejected,
  ifNull(amount, 0) as amount
from {landing}.payments as landed
where landed.merchant_id is not null
  and landed.payment_date is not null
  and payment_date > now64(6, 'UTC') - interval {horizon_days} day
