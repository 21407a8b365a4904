-- title: Reversals and what became of them
-- shows: table
select pairing, count() as reversals, sum(abs(ifNull(reversal_amount, original_amount))) as amount
from {database}.reversals
group by pairing
order by reversals desc, pairing
