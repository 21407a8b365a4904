-- title: Who is rejected most, in the last seven days
-- shows: table
select
  rank as "#",
  name as merchant,
  rejected_count as rejected,
  total_count as payments,
  toDecimal64(100 * rejected_share, 1) as "share in %",
  rejected_amount as "amount rejected"
from {database}.merchants_by_rejection
order by rank
limit 10
