-- Question: what was known of each invoice at a past moment? For training: a model that is to decide at T must not have seen what came after T.
-- Grain:    one row per invoice that was committed by then, as it was, with the lines, prices and accounts of then. Lateness is reckoned
--           as of the day of that moment, in UTC: an invoice that was open then is open here, whatever was paid later.
-- Cost:     a view over the four tables' histories: a pass over all their versions, two to three times invoice_features.
--
--   select * from shop.invoice_features_at(ts = '2026-11-01 00:00:00')
--
-- Time is the time of commit: a payment that was entered late is not known before it was entered, though it bears an earlier date. History
-- begins with the first snapshot; for moments before it there is no row. Otherwise as invoice_features, whose definitions these are.
--
-- history: receivables.invoices
-- history: receivables.invoice_line_items
-- history: receivables.skus
-- history: receivables.accounts
-- tracks: receivables.invoices ()
-- tracks: receivables.invoice_line_items ()
-- tracks: receivables.skus ()
-- tracks: receivables.accounts ()
create view {database}.invoice_features_at as
select
  invoices.invoice_id as inv_id,
  invoices.account_id as acct_id,
  cast(ifNull(lines.total, 0) as Decimal(38, 4)) as inv_total,
  toInt64(ifNull(lines.items, 0)) as inv_items,
  toInt32(invoices.issued - accounts.joined) as acct_age,
  invoices.within_120_days as num_inv_120d,
  invoices.so_far as cum_tot_inv_acct,
  toUInt8(if(
    invoices.paid is null,
    if(toInt32(toDate32({ts:DateTime64(6, 'UTC')}, 'UTC')) - invoices.issued > 30, 1, null),
    if(invoices.paid - invoices.issued > 30, 1, 0)
  )) as is_late
from (
  -- Days as numbers, which know no time zone.
  select
    invoice_id,
    account_id,
    toInt32(date_issued) as issued,
    toInt32(payment_dates) as paid,
    count() over (partition by account_id order by issued range between 120 preceding and 1 preceding) as within_120_days,
    count() over (partition by account_id order by issued range between unbounded preceding and current row) as so_far
  from {database}.receivables_invoices_at(ts = {ts:DateTime64(6, 'UTC')})
) as invoices
left join (
  select
    line_items.invoice_id as invoice_id,
    sum(line_items.quantity * cast(ifNull(skus.item_retail_price, 0) as Decimal(38, 4))) as total,
    sum(line_items.quantity) as items
  from {database}.receivables_invoice_line_items_at(ts = {ts:DateTime64(6, 'UTC')}) as line_items
  left join {database}.receivables_skus_at(ts = {ts:DateTime64(6, 'UTC')}) as skus on skus.item_id = line_items.item_id
  group by invoice_id
) as lines on lines.invoice_id = invoices.invoice_id
left join (
  select account_id, toNullable(toInt32(joining_date)) as joined from {database}.receivables_accounts_at(ts = {ts:DateTime64(6, 'UTC')})
) as accounts on accounts.account_id = invoices.account_id
comment 'Features of every invoice as they were known at a moment: select * from invoice_features_at(ts = ''2026-11-01 00:00:00'')'
