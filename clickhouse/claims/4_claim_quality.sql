-- Question: how many rows break which rule?
-- Grain:    one row per rule, also where no row breaks it.
-- Cost:     a view: that of claim_facts, and as much again for what is asked of the other tables. It is a view because one row may
--           break or mend a rule about another table.
--
-- `share` is rows / of; the numbers that it is made of stand beside it and are exact. Where `in_sums` is 0, rows that break the rule are
-- left out of sums by default. Treatments that are past their retention count nowhere.
--
-- tracks: claims.treatments ()
-- tracks: claims.invoices ()
-- tracks: claims.invoice_items ()
-- tracks: claims.claims ()
create view {database}.claim_quality (
  rule String comment 'What is wrong',
  about String comment 'Whose rows were looked at: claims, treatments, invoices or invoice_items',
  rows UInt64 comment 'Rows that break the rule',
  of UInt64 comment 'Rows that were looked at',
  share Float64 comment 'rows / of; 0 where there are none',
  in_sums UInt8 comment '0: sums leave claims that break the rule out by default'
) as
with
  (select home_currency from {database}.claims_bounds) as home,
  (select absurd_amount from {database}.claims_bounds) as absurd
select
  found.1 as rule,
  about,
  toUInt64(found.2) as rows,
  toUInt64(total) as of,
  if(of = 0, 0, rows / of) as share,
  rule not in ('claim_orphan', 'claim_amount_missing', 'claim_amount_negative', 'claim_amount_absurd', 'claim_currency_foreign') as in_sums
from (
  select
    'claims' as about,
    count() as total,
    arrayJoin([
      ('claim_date_created_missing', sum(no_date_created)),
      ('claim_date_modified_missing', sum(no_date_modified)),
      ('claim_orphan', sum(is_orphan)),
      ('claim_without_invoice', sum(no_invoice)),
      ('claim_amount_missing', sum(amount_missing)),
      ('claim_amount_negative', sum(amount_negative)),
      ('claim_amount_zero', sum(amount_zero)),
      ('claim_amount_absurd', sum(amount_absurd)),
      ('claim_currency_foreign', sum(currency_foreign)),
      ('claim_amount_differs', sum(amount_differs)),
      ('claim_program_differs', sum(program_differs))
    ]) as found
  from {database}.claim_facts
  union all
  select
    'treatments' as about,
    count() as total,
    arrayJoin([
      ('treatment_date_created_missing', countIf(date_created is null)),
      ('treatment_date_modified_missing', countIf(date_modified is null)),
      ('treatment_date_submitted_missing', countIf(date_submitted is null)),
      ('treatment_date_treatment_missing', countIf(date_treatment is null)),
      ('treatment_without_invoice', countIf(charged.invoices = 0)),
      ('treatment_with_several_invoices', countIf(charged.invoices > 1)),
      ('treatment_with_several_claims', countIf(claimed.claims > 1))
    ]) as found
  from {database}.claims_treatments as treatments
  left join (
    select treatment_id, count() as invoices from {database}.claims_invoices group by treatment_id
  ) as charged on charged.treatment_id = treatments.id
  left join (
    select treatment_id, count() as claims
    from {database}.claims_claims
    where ifNull(replaceRegexpAll(lower(cast(status as Nullable(String))), '[^a-z0-9]', ''), '') <> 'deleted'
    group by treatment_id
  ) as claimed on claimed.treatment_id = treatments.id
  union all
  select
    'invoices' as about,
    count() as total,
    arrayJoin([
      ('invoice_date_created_missing', countIf(date_created is null)),
      ('invoice_orphan', countIf(treatment.is_there = 0))
    ]) as found
  from {database}.claims_invoices as invoices
  left join (select id, 1 as is_there from {database}.claims_treatments) as treatment on treatment.id = invoices.treatment_id
  union all
  select
    'invoice_items' as about,
    count() as total,
    arrayJoin([
      ('item_date_created_missing', countIf(date_created is null)),
      ('item_orphan', countIf(invoice.is_there = 0)),
      ('item_amount_missing', countIf(amount is null)),
      ('item_amount_negative', countIf(amount < 0)),
      ('item_amount_zero', countIf(amount = 0)),
      ('item_amount_absurd', countIf(amount > absurd)),
      ('item_currency_foreign', countIf(ifNull(currency <> home, 1))),
      ('item_product_negative', countIf(product_id < 0))
    ]) as found
  from {database}.claims_invoice_items as items
  left join (select id, 1 as is_there from {database}.claims_invoices) as invoice on invoice.id = items.invoice_id
) as counted
comment 'Rules about the claims, each with the rows that break it; always current'
