-- Question: what is a consumer like, in numbers that a model can take?
-- Grain:    one row per consumer, those without clean transactions included.
-- Cost:     a view over transactions_clean: two passes over the transactions, and as many counters a consumer as it has merchants and
--           countries.
--
-- All of it is reckoned from clean transactions within the retention, by what is left of each (net_amount) and by UTC. Ties go to the smaller
-- id and to the code that is first in the alphabet. Two spellings stand side by side: prefered_merchants is what the consumer says (the source's
-- column), preferred_merchants what the consumer does.
create view {database}.consumer_features (
  consumer_id Int32 comment 'The consumer',
  recency_days Nullable(Int32) comment 'Days from the day of the last transaction to today; null where there is none',
  frequency UInt64 comment 'Number of transactions',
  monetary_total Decimal(38, 5) comment 'Sum of what was spent, exact',
  monetary_mean Nullable(Float64) comment 'monetary_total / frequency; null where there is no transaction',
  preferred_merchants Array(Int32) comment 'The five merchants with most transactions, most first',
  prefered_merchants Array(Int32) comment 'The merchants that the consumer says to prefer',
  transactions_at_prefered UInt64 comment 'Transactions with one of prefered_merchants',
  countries Array(String) comment 'Country codes, most transactions first',
  country_transactions Array(UInt64) comment 'Number of transactions in each of countries',
  weekday_transactions Array(UInt64) comment 'Seven numbers of transactions, Monday to Sunday',
  hour_transactions Array(UInt64) comment 'Twenty-four numbers of transactions, by hour of the day'
) as
select
  consumers.id as consumer_id,
  if(frequency = 0, null, dateDiff('day', toDate32(last_at, 'UTC'), toDate32(now64(6, 'UTC'), 'UTC'))) as recency_days,
  ifNull(spent.transactions, 0) as frequency,
  ifNull(spent.total, 0) as monetary_total,
  if(frequency = 0, null, toFloat64(ifNull(spent.total, 0)) / frequency) as monetary_mean,
  arraySlice(arraySort((merchant, number) -> (-toInt64(number), merchant), merchants.1, merchants.2), 1, 5) as preferred_merchants,
  consumers.prefered_merchants as prefered_merchants,
  arraySum((merchant, number) -> if(has(consumers.prefered_merchants, merchant), number, 0), merchants.1, merchants.2) as transactions_at_prefered,
  arraySort((code, number) -> (-toInt64(number), code), codes.1, codes.2) as countries,
  arrayReverseSort(codes.2) as country_transactions,
  arrayResize(weekdays, 7) as weekday_transactions,
  arrayResize(hours, 24) as hour_transactions
from {database}.banking_consumers as consumers
left join (
  select
    consumer_id,
    count() as transactions,
    sum(net_amount) as total,
    max(execution_date) as last_at,
    sumMap(
      if(merchant_id is null, emptyArrayInt32(), [assumeNotNull(merchant_id)]),
      if(merchant_id is null, emptyArrayUInt64(), [toUInt64(1)])) as merchants,
    sumMap([country_code], [toUInt64(1)]) as codes,
    sumForEach(arrayMap(day -> toUInt64(day = toDayOfWeek(execution_date, 0, 'UTC')), range(1, 8))) as weekdays,
    sumForEach(arrayMap(hour -> toUInt64(hour = toHour(execution_date, 'UTC')), range(24))) as hours
  from {database}.transactions_clean
  group by consumer_id
) as spent on spent.consumer_id = consumers.id
comment 'What consumers do, in numbers for models; always current'
