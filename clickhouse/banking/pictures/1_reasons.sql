-- title: Why transactions are rejected
-- shows: bar
-- x: reason
-- y: transactions
-- unit: transactions
select arrayJoin(reasons) as reason, count() as transactions
from {database}.transactions_rejected
group by reason
order by transactions desc, reason
