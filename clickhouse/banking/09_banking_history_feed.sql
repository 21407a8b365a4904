-- Feeds banking_history_rows with every version as it is stored. A transaction without a consumer is in nobody's history.
create materialized view {database}.banking_history_feed to {database}.banking_history_rows as
select
  assumeNotNull(landed.consumer_id) as consumer_id,
  execution_date,
  id,
  amount,
  creation_date,
  label,
  country_code,
  bank_id,
  merchant_id,
  _version,
  _is_deleted
from {landing}.banking_transactions as landed
where landed.consumer_id is not null
