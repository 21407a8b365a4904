with
  taken_back as (
    select o.transaction_id
    from spending.transactions as o join spending.transactions as back
      on back.reverses = o.transaction_id and back.customer_id = o.customer_id and back.status = 'approved'
  ),
  totals as (
    select
      t.customer_id,
      coalesce(sum(case when left_out.id is null then transaction_amount end), 0) as amount,
      count(*) filter (where left_out.id is null) as transactions,
      sum(transaction_amount) as amount_all,
      count(*) as transactions_all
    from spending.transactions as t
    left join (
      select transaction_id as id from taken_back
      union select transaction_id from spending.transactions where status in ('declined', 'reversed') or reverses is not null
    ) as left_out on left_out.id = t.transaction_id
    group by t.customer_id
  ),
  placed as (
    select
      mine.*,
      (select count(*) + 1 from totals as other where other.amount > mine.amount) as place,
      (select count(*) from totals as other where other.amount = mine.amount) as tied,
      (select count(*) + 1 from totals as other where other.amount_all > mine.amount_all) as place_all,
      (select count(*) from totals as other where other.amount_all = mine.amount_all) as tied_all
    from totals as mine
  )
select
  customer_id, case when place <= 5 then place end as rank, amount, transactions, tied,
  case when place_all <= 5 then place_all end as rank_all, amount_all, transactions_all, tied_all
from placed
where place <= 5 or place_all <= 5
