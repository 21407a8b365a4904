with counted as (
  select *, status not in ('declined', 'reversed') and reverses is null and not exists (
    select from spending.transactions as back
    where back.reverses = t.transaction_id and back.customer_id = t.customer_id and back.status = 'approved'
  ) as counts
  from spending.transactions as t
)
select
  product_category,
  count(*) filter (where counts) as transactions,
  coalesce(sum(transaction_amount) filter (where counts), 0) as amount,
  count(distinct customer_id) filter (where counts) as customers,
  count(*) as transactions_all,
  sum(transaction_amount) as amount_all
from counted
group by product_category
