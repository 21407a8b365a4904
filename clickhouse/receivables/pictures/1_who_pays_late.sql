-- title: Who pays late
-- shows: bar
-- x: company
-- y: late, in time
-- unit: invoices
select
  concat(accounts.company_name, ' (', toString(features.acct_id), ')') as company,
  countIf(features.is_late = 1) as late,
  countIf(features.is_late = 0) as `in time`
from {database}.invoice_features as features
inner join {database}.receivables_accounts as accounts on accounts.account_id = features.acct_id
group by features.acct_id, accounts.company_name
having late > 0
order by late desc, `in time`, features.acct_id
limit 15
