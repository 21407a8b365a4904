select merchant_id, (payment_date at time zone 'UTC')::date as day, method, status, count(*) as payments, sum(amount) as amount
from public.payments
where payment_date > now() - interval '2 years'
group by merchant_id, day, method, status
