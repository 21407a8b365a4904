-- title: What is wrong with the data
-- shows: bar
-- x: rule
-- y: rows
-- unit: rows
select replaceAll(rule, '_', ' ') as rule, rows
from {database}.claim_quality
where rows > 0
order by rows desc, rule
limit 20
