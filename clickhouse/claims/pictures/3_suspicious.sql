-- title: The largest suspicious claims
-- shows: table
select
  toString(claim_id) as claim,
  status,
  amount,
  currency,
  toString(program_id) as program,
  if(is_orphan = 1, 'yes', '') as `no treatment`,
  if(amount_absurd = 1, 'yes', '') as `absurd amount`,
  if(currency_foreign = 1, 'yes', '') as `other currency`
from {database}.claim_facts
where is_suspicious = 1
order by abs(amount) desc, claim_id
limit 15
