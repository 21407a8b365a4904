-- title: What it is spent on
-- shows: bar
-- x: category
-- y: amount
-- unit: amount
select ifNull(product_category, 'unknown') as category, amount
from {database}.transactions_by_category
order by transactions_by_category.amount desc, category
limit 15
