-- Question: what was a merchant like at the time of a payment?
-- Grain:    one row per merchant and period of validity; a payment at T belongs to the row with valid_from <= T < valid_to.
-- Cost:     a view over the audit trail of merchants: a pass over all their versions.
--
-- The first period of a merchant that was there before the first snapshot begins with that snapshot: what it was before is
-- not known. After a deletion there is no row until the merchant is created again. Only where public.merchants is kept
-- with its history.
--
-- history: public.merchants
-- tracks: public.merchants ()
create view {database}.merchant_history (
  merchant_id Int64 comment 'The merchant',
  valid_from DateTime64(6, 'UTC') comment 'From the commit that made the merchant so',
  valid_to DateTime64(6, 'UTC') comment 'Until the commit that changed or deleted it; 2299-12-31 while it stands',
  name String comment 'Trading name in that period',
  address Nullable(String) comment 'Postal address in that period',
  phone Nullable(String) comment 'Telephone number in that period',
  email Nullable(String) comment 'Address for correspondence in that period'
) as
select
  merchant_id,
  valid_from,
  ifNull(valid_to, toDateTime64('2299-12-31 00:00:00', 6, 'UTC')) as valid_to,
  cast(name as String) as name,
  cast(address as Nullable(String)) as address,
  cast(phone as Nullable(String)) as phone,
  cast(email as Nullable(String)) as email
from {database}.merchants_history
where op in ('c', 'u', 'r') and (valid_to is null or valid_to > valid_from)
comment 'Merchants as they were, by period of validity'
