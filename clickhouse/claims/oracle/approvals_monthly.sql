select
  date_trunc('month', coalesce(date_modified, date_created))::date as month,
  program_id, type,
  count(*) filter (where what = 'APPROVED' and trusted) as approved,
  coalesce(sum(amount) filter (where what = 'APPROVED' and trusted), 0) as approved_amount,
  count(*) filter (where what = 'APPROVED' and not trusted) as suspicious,
  coalesce(sum(amount) filter (where what = 'APPROVED'), 0) as approved_amount_all,
  count(*) filter (where what = 'REJECTED') as rejected,
  count(*) filter (where what = 'PARTIALLYREJECTED') as partially_rejected
from (
  select
    *, translate(upper(status), '_- ', '') as what,
    coalesce(amount between 0 and 1000000 and currency = 'KES', false) and exists (
      select from claims.treatments as t
      where t.id = c.treatment_id and (t.date_modified is null or t.date_modified + interval '10 years' > now() at time zone 'UTC')
    ) as trusted
  from claims.claims as c
  where date_modified is null or date_modified + interval '10 years' > now() at time zone 'UTC'
) as judged
where what in ('APPROVED', 'REJECTED', 'PARTIALLYREJECTED')
group by 1, 2, 3
