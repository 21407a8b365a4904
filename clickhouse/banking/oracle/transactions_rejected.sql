with bounds as (
  select
    now() + interval '5 minutes' as latest,
    (date_trunc('day', (now() - interval '2 years') at time zone 'UTC') + interval '1 day') at time zone 'UTC' as first_whole_day
), kept as (
  select
    t.*,
    array_remove(array[
      case when amount is null then 'amount' end,
      case when creation_date is null then 'creation_date' end,
      case when execution_date is null then 'execution_date' end,
      case when coalesce(label, '') = '' then 'label' end,
      case when coalesce(country_code, '') = '' then 'country_code' end,
      case when consumer_id is null then 'consumer_id' end,
      case when bank_id is null then 'bank_id' end
    ], null) as missing_fields,
    array_remove(array[
      case when consumer_id is not null and consumers.id is null then 'consumer' end,
      case when bank_id is not null and banks.id is null then 'bank' end,
      case when merchant_id is not null and merchants.id is null then 'merchant' end
    ], null) as unknown_parties
  from banking.transactions as t
  left join banking.consumers on consumers.id = consumer_id
  left join banking.banks on banks.id = bank_id
  left join banking.merchants on merchants.id = merchant_id
  where execution_date is null or execution_date > now() - interval '2 years'
), faulty as (
  select
    *,
    array_remove(array[
      case when cardinality(missing_fields) > 0 then 'missing field' end,
      case when amount = 0 then 'amount zero' end,
      case when amount < 0 then 'amount negative' end,
      case when amount > 10000 then 'amount above the bound' end,
      case when execution_date < first_whole_day then 'older than retention' end,
      case when creation_date > latest or execution_date > latest then 'in the future' end,
      case when country_code <> '' and not banking.is_country(country_code) then 'unknown country' end,
      case when cardinality(unknown_parties) > 0 then 'unknown party' end
    ], null) as faults
  from kept, bounds
), taken_back as (
  select label, consumer_id, sum(amount) as total from faulty where faults = array['amount negative'] group by label, consumer_id
), judged as (
  select
    faulty.*,
    faults || case when amount > 0 and amount + total <= 0 then array['compensated'] else '{}' end as reasons
  from faulty
  left join taken_back on taken_back.label = 'compensates ' || id and taken_back.consumer_id = faulty.consumer_id
)
select
  id, reasons, missing_fields, unknown_parties,
  case when faults = array['amount negative'] then (
    select original.id from banking.transactions as original
    where original.id = substring(judged.label from '^compensates ([1-9][0-9]{0,17})$')::bigint
      and original.consumer_id = judged.consumer_id and original.amount > 0
      and (original.execution_date is null or original.execution_date > now() - interval '2 years')
  ) end as compensates,
  amount, creation_date, execution_date, label, country_code, consumer_id, bank_id, merchant_id
from judged
where cardinality(reasons) > 0
