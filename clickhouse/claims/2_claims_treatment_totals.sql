-- Question: what was charged for each treatment?
-- Grain:    one row per treatment that an invoice names, whether there is such a treatment or not.
-- Cost:     a view: a pass over the invoices and their items.
--
-- An item stands unless its status is DELETED, REPLACED or REJECTED, in whatever spelling; one without a status stands.
--
-- tracks: claims.invoices ()
-- tracks: claims.invoice_items ()
create view {database}.claims_treatment_totals (
  treatment_id Nullable(Int64) comment 'The treatment that is charged for',
  invoices UInt64 comment 'Number of its invoices',
  items UInt64 comment 'Number of items on them that stand',
  items_all UInt64 comment 'Number of items on them, those that were withdrawn among them',
  total Decimal(38, 4) comment 'Sum of the items that stand, whatever their currency; one without an amount counts as 0',
  total_all Decimal(38, 4) comment 'Sum of all items'
) as
select
  invoices.treatment_id as treatment_id,
  count() as invoices,
  sum(of_invoice.standing) as items,
  sum(of_invoice.every) as items_all,
  sum(of_invoice.standing_amount) as total,
  sum(of_invoice.every_amount) as total_all
from {database}.claims_invoices as invoices
left join (
  select
    invoice_id,
    countIf(stands) as standing,
    count() as every,
    sumIf(ifNull(amount, 0), stands) as standing_amount,
    sum(ifNull(amount, 0)) as every_amount
  from (
    select
      invoice_id,
      amount,
      ifNull(replaceRegexpAll(lower(cast(status as Nullable(String))), '[^a-z0-9]', ''), '')
        not in ('deleted', 'replaced', 'rejected') as stands
    from {database}.claims_invoice_items
  ) as items
  group by invoice_id
) as of_invoice on of_invoice.invoice_id = invoices.id
group by invoices.treatment_id
comment 'Invoices and items by treatment; always current'
