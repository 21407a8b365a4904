with
  t as (select * from claims.treatments where date_modified is null or date_modified + interval '10 years' > now() at time zone 'UTC'),
  i as (select * from claims.invoices where date_created is null or date_created + interval '10 years' > now() at time zone 'UTC'),
  x as (select * from claims.invoice_items where date_created is null or date_created + interval '10 years' > now() at time zone 'UTC'),
  c as (select * from claims.claims where date_modified is null or date_modified + interval '10 years' > now() at time zone 'UTC'),
  standing as (
    select i.treatment_id, sum(coalesce(x.amount, 0)) as amount from i join x on x.invoice_id = i.id
    where coalesce(upper(x.status), '') not in ('DELETED', 'REPLACED', 'REJECTED')
    group by i.treatment_id
  ),
  live as (select * from c where upper(status) is distinct from 'DELETED'),
  broken (about, rule, id) as (
    select 'claims', 'claim_date_created_missing', id from c where date_created is null
    union all select 'claims', 'claim_date_modified_missing', id from c where date_modified is null
    union all select 'claims', 'claim_orphan', id from c where not exists (select from t where t.id = c.treatment_id)
    union all select 'claims', 'claim_without_invoice', c.id from c join t on t.id = c.treatment_id
      where not exists (select from i where i.treatment_id = t.id)
    union all select 'claims', 'claim_amount_missing', id from c where amount is null
    union all select 'claims', 'claim_amount_negative', id from c where amount < 0
    union all select 'claims', 'claim_amount_zero', id from c where amount = 0
    union all select 'claims', 'claim_amount_absurd', id from c where amount > 1000000
    union all select 'claims', 'claim_currency_foreign', id from c where currency is distinct from 'KES'
    union all select 'claims', 'claim_amount_differs', live.id from live join standing using (treatment_id)
      join (select treatment_id, sum(coalesce(amount, 0)) as claimed from live group by treatment_id) as sums using (treatment_id)
      where claimed <> standing.amount
    union all select 'claims', 'claim_program_differs', c.id from c join t on t.id = c.treatment_id
      where c.program_id is distinct from t.program_id
    union all select 'treatments', 'treatment_date_created_missing', id from t where date_created is null
    union all select 'treatments', 'treatment_date_modified_missing', id from t where date_modified is null
    union all select 'treatments', 'treatment_date_submitted_missing', id from t where date_submitted is null
    union all select 'treatments', 'treatment_date_treatment_missing', id from t where date_treatment is null
    union all select 'treatments', 'treatment_without_invoice', id from t where not exists (select from i where i.treatment_id = t.id)
    union all select 'treatments', 'treatment_with_several_invoices', t.id from t join i on i.treatment_id = t.id group by t.id having count(*) > 1
    union all select 'treatments', 'treatment_with_several_claims', t.id from t join live on live.treatment_id = t.id group by t.id having count(*) > 1
    union all select 'invoices', 'invoice_date_created_missing', id from i where date_created is null
    union all select 'invoices', 'invoice_orphan', id from i where not exists (select from t where t.id = i.treatment_id)
    union all select 'invoice_items', 'item_date_created_missing', id from x where date_created is null
    union all select 'invoice_items', 'item_orphan', id from x where not exists (select from i where i.id = x.invoice_id)
    union all select 'invoice_items', 'item_amount_missing', id from x where amount is null
    union all select 'invoice_items', 'item_amount_negative', id from x where amount < 0
    union all select 'invoice_items', 'item_amount_zero', id from x where amount = 0
    union all select 'invoice_items', 'item_amount_absurd', id from x where amount > 1000000
    union all select 'invoice_items', 'item_currency_foreign', id from x where currency is distinct from 'KES'
    union all select 'invoice_items', 'item_product_negative', id from x where product_id < 0
  ),
  rules (about, rule) as (
    select 'claims', 'claim_' || name from unnest(array[
      'date_created_missing', 'date_modified_missing', 'orphan', 'without_invoice', 'amount_missing', 'amount_negative', 'amount_zero',
      'amount_absurd', 'currency_foreign', 'amount_differs', 'program_differs']) as name
    union all select 'treatments', 'treatment_' || name from unnest(array[
      'date_created_missing', 'date_modified_missing', 'date_submitted_missing', 'date_treatment_missing', 'without_invoice',
      'with_several_invoices', 'with_several_claims']) as name
    union all select 'invoices', 'invoice_' || name from unnest(array['date_created_missing', 'orphan']) as name
    union all select 'invoice_items', 'item_' || name from unnest(array[
      'date_created_missing', 'orphan', 'amount_missing', 'amount_negative', 'amount_zero', 'amount_absurd', 'currency_foreign',
      'product_negative']) as name
  ),
  totals (about, n) as (
    select 'claims', count(*) from c
    union all select 'treatments', count(*) from t
    union all select 'invoices', count(*) from i
    union all select 'invoice_items', count(*) from x
  )
select
  rule, about, count(broken.id) as rows, n as of, coalesce(count(broken.id)::float8 / nullif(n, 0), 0) as share,
  (rule not in ('claim_orphan', 'claim_amount_missing', 'claim_amount_negative', 'claim_amount_absurd', 'claim_currency_foreign'))::int as in_sums
from rules join totals using (about) left join broken using (about, rule)
group by rule, about, n
