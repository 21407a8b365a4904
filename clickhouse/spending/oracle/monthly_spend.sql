with counted as (
  select
    date_trunc('month', transaction_date at time zone 'UTC')::date as month,
    transaction_amount as amount,
    status in ('pending', 'approved') and reverses is null
      and (transaction_id, customer_id) not in (
        select reverses, customer_id from spending.transactions where reverses is not null and status = 'approved'
      ) as counts
  from spending.transactions
)
select
  month::date as month,
  count(*) filter (where counts) as transactions,
  coalesce(sum(amount) filter (where counts), 0) as amount,
  count(counted.amount) as transactions_all,
  coalesce(sum(amount), 0) as amount_all,
  (month::date <> date_trunc('month', now() at time zone 'UTC')::date)::int as is_complete
from (
  select generate_series(this - interval '11 months', this, '1 month')::date as month
  from (select date_trunc('month', now() at time zone 'UTC') as this) as present
) as months
left join counted using (month)
group by month
