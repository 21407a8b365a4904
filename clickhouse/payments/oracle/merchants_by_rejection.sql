select
  row_number() over (
    order by rejected_count::float8 / total_count desc, rejected_amount desc, merchant_id
  ) as rank,
  merchant_id, (select name from public.merchants where merchants.merchant_id = numbers.merchant_id) as name,
  rejected_count, total_count, rejected_amount, total_amount,
  rejected_count::float8 / total_count as rejected_share
from (
  select
    merchant_id,
    count(*) filter (where status = 'Rejected') as rejected_count,
    count(*) as total_count,
    coalesce(sum(amount) filter (where status = 'Rejected'), 0) as rejected_amount,
    sum(amount) as total_amount
  from public.payments
  where payment_date > now() - interval '168 hours' and payment_date <= now()
  group by merchant_id
  having count(*) >= 20
) as numbers
