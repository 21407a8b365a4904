with correct as (
  select * from banking.transactions as t
  where label <> ''
    and banking.is_country(country_code)
    and exists (select from banking.consumers where id = t.consumer_id)
    and exists (select from banking.banks where id = t.bank_id)
    and (merchant_id is null or exists (select from banking.merchants where id = t.merchant_id))
    and greatest(creation_date, execution_date) <= now() + interval '5 minutes'
    and creation_date is not null
    and execution_date >= (date_trunc('day', (now() - interval '2 years') at time zone 'UTC') + interval '1 day') at time zone 'UTC'
), taken_back as (
  select label, consumer_id, sum(amount) as total from correct where amount < 0 group by label, consumer_id
), clean as (
  select correct.*, coalesce(total, 0) as compensation, amount + coalesce(total, 0) as net_amount
  from correct
  left join taken_back on taken_back.label = 'compensates ' || id and taken_back.consumer_id = correct.consumer_id
  where amount between 0.00001 and 10000 and amount + coalesce(total, 0) > 0
), spent as (
  select
    consumer_id,
    count(*) as number,
    sum(net_amount) as total,
    max(execution_date) as last_at,
    array[
      count(*) filter (where weekday = 1),
      count(*) filter (where weekday = 2),
      count(*) filter (where weekday = 3),
      count(*) filter (where weekday = 4),
      count(*) filter (where weekday = 5),
      count(*) filter (where weekday = 6),
      count(*) filter (where weekday = 7)
    ] as weekdays,
    array[
      count(*) filter (where hour = 0), count(*) filter (where hour = 1), count(*) filter (where hour = 2),
      count(*) filter (where hour = 3), count(*) filter (where hour = 4), count(*) filter (where hour = 5),
      count(*) filter (where hour = 6), count(*) filter (where hour = 7), count(*) filter (where hour = 8),
      count(*) filter (where hour = 9), count(*) filter (where hour = 10), count(*) filter (where hour = 11),
      count(*) filter (where hour = 12), count(*) filter (where hour = 13), count(*) filter (where hour = 14),
      count(*) filter (where hour = 15), count(*) filter (where hour = 16), count(*) filter (where hour = 17),
      count(*) filter (where hour = 18), count(*) filter (where hour = 19), count(*) filter (where hour = 20),
      count(*) filter (where hour = 21), count(*) filter (where hour = 22), count(*) filter (where hour = 23)
    ] as hours
  from (
    select
      *,
      extract(isodow from execution_date at time zone 'UTC') as weekday,
      extract(hour from execution_date at time zone 'UTC') as hour
    from clean
  ) as moments
  group by consumer_id
), merchants as (
  select
    numbers.consumer_id,
    (array_agg(merchant_id order by number desc, merchant_id))[1:5] as most,
    sum(number) filter (where merchant_id = any (prefered_merchants))::bigint as at_prefered
  from (select consumer_id, merchant_id, count(*) as number from clean where merchant_id is not null group by 1, 2) as numbers
  join banking.consumers on consumers.id = numbers.consumer_id
  group by numbers.consumer_id
), countries as (
  select
    consumer_id,
    array_agg(country_code order by number desc, country_code collate "C") as codes,
    array_agg(number order by number desc) as numbers
  from (select consumer_id, country_code, count(*) as number from clean group by 1, 2) as numbers
  group by consumer_id
)
select
  id as consumer_id,
  (now() at time zone 'UTC')::date - (last_at at time zone 'UTC')::date as recency_days,
  coalesce(number, 0) as frequency,
  coalesce(total, 0) as monetary_total,
  total::float8 / number as monetary_mean,
  coalesce(most, '{}') as preferred_merchants,
  prefered_merchants,
  coalesce(at_prefered, 0) as transactions_at_prefered,
  coalesce(codes, '{}') as countries,
  coalesce(numbers, '{}') as country_transactions,
  coalesce(weekdays, array_fill(0::bigint, array[7])) as weekday_transactions,
  coalesce(hours, array_fill(0::bigint, array[24])) as hour_transactions
from banking.consumers
left join spent on spent.consumer_id = id
left join merchants on merchants.consumer_id = id
left join countries on countries.consumer_id = id
