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
)
select
  merchant_id, date_trunc('hour', execution_date, 'UTC') as hour, count(*) as transactions, sum(net_amount) as amount,
  count(distinct consumer_id) as consumers
from clean
where merchant_id is not null
group by merchant_id, hour
