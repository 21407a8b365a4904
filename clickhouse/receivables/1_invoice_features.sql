-- Question: what is known of each invoice that could tell whether it will be paid late?
-- Grain:    one row per invoice, whatever else is missing: without lines its total and items are 0, without an account acct_age is null.
-- Cost:     a view: a pass over invoices and their lines, about 60 ms for 10,000 invoices with 50,000 lines (2 cores); asking for one
--           invoice reads as much. Nothing is kept that could be wrong: prices, dates and accounts of old invoices may change, and today does.
--
-- An invoice is worth its quantities at the retail prices that stand now; a line whose item is unknown adds nothing to the total
-- and counts among the items. Today is the day in UTC. As it was at a past moment: invoice_features_at(ts).
--
-- tracks: receivables.invoices ()
-- tracks: receivables.invoice_line_items ()
-- tracks: receivables.skus ()
-- tracks: receivables.accounts ()
-- needs: receivables.invoices (invoice_id Int, account_id Int, date_issued Date, payment_dates Date)
-- needs: receivables.invoice_line_items (invoice_id Int, quantity Int)
-- needs: receivables.skus (item_retail_price Decimal)
-- needs: receivables.accounts (account_id Int, joining_date Date)
create view {database}.invoice_features (
  inv_id Int32 comment 'The invoice',
  acct_id Int32 comment 'The account that is to pay',
  inv_total Decimal(38, 4) comment 'Sum of quantity times retail price, exact',
  inv_items Int64 comment 'Sum of the quantities',
  acct_age Nullable(Int32) comment 'Days from the day the account joined to the day of issue; null where there is no such account',
  num_inv_120d UInt64 comment 'Other invoices of the account issued 1 to 120 days before this one',
  cum_tot_inv_acct UInt64 comment 'Invoices of the account issued up to and including the day of this one, itself among them',
  is_late Nullable(UInt8) comment '1: paid more than 30 days after issue, or unpaid and older than 30 days; 0: paid in time; null: unpaid and not older than 30 days'
) as
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
    if(toInt32(toDate32(now64(6, 'UTC'), 'UTC')) - invoices.issued > 30, 1, null),
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
  from {database}.receivables_invoices
) as invoices
left join (
  select
    line_items.invoice_id as invoice_id,
    sum(line_items.quantity * cast(ifNull(skus.item_retail_price, 0) as Decimal(38, 4))) as total,
    sum(line_items.quantity) as items
  from {database}.receivables_invoice_line_items as line_items
  left join {database}.receivables_skus as skus on skus.item_id = line_items.item_id
  group by invoice_id
) as lines on lines.invoice_id = invoices.invoice_id
left join (
  select account_id, toNullable(toInt32(joining_date)) as joined from {database}.receivables_accounts
) as accounts on accounts.account_id = invoices.account_id
comment 'Features of every invoice for telling late payers; always current'
