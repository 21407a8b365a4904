with
  kept_treatments as (
    select * from claims.treatments where date_modified is null or date_modified + interval '10 years' > now() at time zone 'UTC'
  ),
  kept_invoices as (
    select * from claims.invoices where date_created is null or date_created + interval '10 years' > now() at time zone 'UTC'
  ),
  kept_items as (
    select *, coalesce(upper(status), '') not similar to '(DELETED|REPLACED|REJECTED)' as stands
    from claims.invoice_items where date_created is null or date_created + interval '10 years' > now() at time zone 'UTC'
  ),
  kept_claims as (
    select *, translate(upper(status), ' _-', '') as letters
    from claims.claims where date_modified is null or date_modified + interval '10 years' > now() at time zone 'UTC'
  ),
  charged as (
    select
      treatment_id, count(distinct i.id) as invoices,
      count(x.id) filter (where x.stands) as items, count(x.id) as items_all,
      coalesce(sum(x.amount) filter (where x.stands), 0) as total, coalesce(sum(x.amount), 0) as total_all
    from kept_invoices as i left join kept_items as x on x.invoice_id = i.id
    group by treatment_id
  ),
  claimed as (
    select treatment_id, count(*) as claims, coalesce(sum(amount), 0) as amount
    from kept_claims where letters is distinct from 'DELETED' group by treatment_id
  ),
  facts as (
    select
      c.id as claim_id,
      case c.letters when 'PARTIALLYREJECTED' then 'PARTIALLY_REJECTED' when 'INPROGRESS' then 'IN_PROGRESS' else c.letters end as status,
      c.type, c.program_id, c.amount, c.currency, c.date_created, c.date_modified, c.treatment_id,
      replace(translate(upper(t.status), ' _-', ''), 'INPROGRESS', 'IN_PROGRESS') as treatment_status,
      t.program_id as treatment_program_id, t.date_treatment, t.date_submitted,
      coalesce(charged.invoices, 0) as invoices, coalesce(charged.items, 0) as invoice_items, coalesce(charged.items_all, 0) as invoice_items_all,
      coalesce(charged.total, 0) as invoice_total, coalesce(charged.total_all, 0) as invoice_total_all,
      coalesce(claimed.claims, 0) as treatment_claims, coalesce(claimed.amount, 0) as treatment_claimed,
      (c.date_created is null)::int as no_date_created,
      (c.date_modified is null)::int as no_date_modified,
      (t.id is null)::int as is_orphan,
      (t.id is not null and charged.invoices is null)::int as no_invoice,
      (coalesce(charged.invoices, 0) > 1)::int as several_invoices,
      (coalesce(claimed.claims, 0) > 1)::int as several_claims,
      (c.amount is null)::int as amount_missing,
      coalesce(c.amount < 0, false)::int as amount_negative,
      coalesce(c.amount = 0, false)::int as amount_zero,
      coalesce(c.amount > 1000000, false)::int as amount_absurd,
      (c.currency is distinct from 'KES')::int as currency_foreign,
      (c.letters is distinct from 'DELETED' and coalesce(charged.items, 0) > 0 and coalesce(claimed.amount, 0) <> charged.total)::int as amount_differs,
      (t.id is not null and t.program_id is distinct from c.program_id)::int as program_differs
    from kept_claims as c
    left join kept_treatments as t on t.id = c.treatment_id
    left join charged on charged.treatment_id = c.treatment_id
    left join claimed on claimed.treatment_id = c.treatment_id
  )
select
  *,
  greatest(is_orphan, amount_missing, amount_negative, amount_absurd, currency_foreign) as is_suspicious,
  case when is_orphan + amount_missing + amount_negative + amount_absurd + currency_foreign = 0 then amount else 0 end as counted_amount
from facts
