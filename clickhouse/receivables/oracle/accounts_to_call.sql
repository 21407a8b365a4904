with today as (select (now() at time zone 'UTC')::date as day),
worth as (
  select i.*, today.day - i.date_issued as age, coalesce(sum(l.quantity * s.item_retail_price), 0) as amount,
    coalesce(i.payment_dates, today.day) - i.date_issued - 30 as beyond
  from receivables.invoices i
  cross join today
  left join receivables.invoice_line_items l using (invoice_id)
  left join receivables.skus s using (item_id)
  group by i.invoice_id, today.day
),
average as (
  select avg(greatest(beyond, 0)) as days from worth where payment_dates is not null or age > 30
),
numbers as (
  select
    account_id,
    count(*) filter (where payment_dates is null) as open_invoices,
    sum(amount) filter (where payment_dates is null) as open_amount,
    count(*) filter (where payment_dates is null and age > 30) as overdue_invoices,
    coalesce(sum(amount) filter (where payment_dates is null and age > 30), 0) as overdue_amount,
    max(age) filter (where payment_dates is null) as oldest_open_days,
    count(*) filter (where payment_dates is not null or age > 30) as judged_invoices,
    count(*) filter (where beyond > 0) as late_invoices,
    round(
      (coalesce(sum(beyond) filter (where beyond > 0), 0) + 5 * coalesce((select days from average), 0))
        / (count(*) filter (where payment_dates is not null or age > 30) + 5),
      2
    ) as usual_days_late
  from worth
  group by account_id
)
select
  row_number() over (order by open_amount * usual_days_late desc, open_amount desc, account_id) as rank,
  account_id, company_name, contact_person, contact_phone,
  open_invoices, open_amount, overdue_invoices, overdue_amount, oldest_open_days,
  judged_invoices, late_invoices, usual_days_late, open_amount * usual_days_late as call_score
from numbers left join receivables.accounts using (account_id)
where open_invoices > 0
