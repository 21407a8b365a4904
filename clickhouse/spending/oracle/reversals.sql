select
  back.transaction_id as reversal_id, back.reverses as original_id, back.customer_id,
  back.transaction_date as reversal_date, o.transaction_date as original_date,
  back.transaction_amount as reversal_amount, o.transaction_amount as original_amount,
  back.status as reversal_status, o.status as original_status,
  case
    when o.transaction_id is null then 'no original'
    when o.customer_id <> back.customer_id then 'other customer'
    when back.status <> 'approved' then 'not effective'
    when exists (
      select from spending.transactions as earlier
      where earlier.reverses = back.reverses and earlier.customer_id = back.customer_id and earlier.status = 'approved'
        and (earlier.transaction_date, earlier.transaction_id) < (back.transaction_date, back.transaction_id)
    ) then 'repeated'
    when abs(o.transaction_amount) <> abs(back.transaction_amount) then 'amount differs'
    else 'paired'
  end as pairing
from spending.transactions as back left join spending.transactions as o on o.transaction_id = back.reverses
where back.reverses is not null
union all
select null, transaction_id, customer_id, null, transaction_date, null, transaction_amount, null, status, 'no reversal'
from spending.transactions as o
where status = 'reversed' and not exists (
  select from spending.transactions as back where back.reverses = o.transaction_id and back.customer_id = o.customer_id
)
