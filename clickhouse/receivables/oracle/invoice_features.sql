select
  i.invoice_id as inv_id,
  i.account_id as acct_id,
  coalesce((
    select sum(l.quantity * s.item_retail_price)
    from receivables.invoice_line_items l join receivables.skus s using (item_id)
    where l.invoice_id = i.invoice_id
  ), 0) as inv_total,
  coalesce((select sum(l.quantity) from receivables.invoice_line_items l where l.invoice_id = i.invoice_id), 0) as inv_items,
  i.date_issued - (select a.joining_date from receivables.accounts a where a.account_id = i.account_id) as acct_age,
  (
    select count(*) from receivables.invoices o
    where o.account_id = i.account_id and i.date_issued - o.date_issued between 1 and 120
  ) as num_inv_120d,
  (
    select count(*) from receivables.invoices o
    where o.account_id = i.account_id and o.date_issued <= i.date_issued
  ) as cum_tot_inv_acct,
  case
    when i.payment_dates > i.date_issued + 30 then 1
    when i.payment_dates is not null then 0
    when i.date_issued + 30 < (now() at time zone 'UTC')::date then 1
  end as is_late
from receivables.invoices i
