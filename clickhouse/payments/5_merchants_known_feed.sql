-- Feeds merchants_known with every version as it is stored.
create materialized view {database}.merchants_known_feed to {database}.merchants_known as
select toInt64(assumeNotNull(merchant_id)) as merchant_id, _version, _is_deleted
from {landing}.merchants as landed
where landed.merchant_id is not null
