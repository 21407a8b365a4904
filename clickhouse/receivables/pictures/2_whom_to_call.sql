-- title: Whom to call first
-- shows: table
select
  rank as `#`,
  company_name as company,
  contact_person as contact,
  contact_phone as phone,
  round(open_amount, 2) as open,
  open_invoices as invoices,
  oldest_open_days as `oldest, days`,
  usual_days_late as `usually late by, days`
from {database}.accounts_to_call
order by rank
limit 10
