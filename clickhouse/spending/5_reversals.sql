-- Question: what takes back what, and what does not find its other half?
-- Grain:    one row per reversal (a transaction with `reverses`), and one per transaction whose status is reversed and which no
--           reversal of its customer names.
-- Cost:     a view: two passes over the transactions.
--
-- `pairing` is the first of these that holds:
--   no reversal      a transaction has the status reversed, and no reversal of its customer names it
--   no original      the reversal names a transaction that is not there
--   other customer   the reversal names a transaction of somebody else
--   not effective    the reversal is not approved: it takes nothing back (yet)
--   repeated         an earlier approved reversal (by date, then id) of this customer names the same transaction
--   amount differs   the two amounts are not the same, whatever their signs
--   paired           all is well
-- All but the last are unpaired, or need a look.
--
-- tracks: spending.transactions ()
create view {database}.reversals (
  reversal_id Nullable(Int64) comment 'The reversal; null where there is none',
  original_id Nullable(Int64) comment 'The transaction that it names, whether it is there or not',
  customer_id Int64 comment 'Customer of the reversal; of the original where there is no reversal',
  reversal_date Nullable(DateTime64(6, 'UTC')) comment 'Date of the reversal',
  original_date Nullable(DateTime64(6, 'UTC')) comment 'Date of the original',
  reversal_amount Nullable(Decimal(38, 4)) comment 'Amount of the reversal, as it stands',
  original_amount Nullable(Decimal(38, 4)) comment 'Amount of the original, as it stands',
  reversal_status Nullable(String) comment 'Status of the reversal',
  original_status Nullable(String) comment 'Status of the original: an effective reversal should make it reversed',
  pairing String comment 'paired, or why not'
) as
select
  reversal.transaction_id as reversal_id,
  reversal.reverses as original_id,
  reversal.customer_id as customer_id,
  reversal.transaction_date as reversal_date,
  original.transaction_date as original_date,
  reversal.transaction_amount as reversal_amount,
  original.transaction_amount as original_amount,
  reversal.status as reversal_status,
  original.status as original_status,
  multiIf(
    original.customer_id is null, 'no original',
    original.customer_id <> reversal.customer_id, 'other customer',
    reversal.status <> 'approved', 'not effective',
    reversal.turn > 1, 'repeated',
    abs(original.transaction_amount) <> abs(reversal.transaction_amount), 'amount differs',
    'paired'
  ) as pairing
from (
  select
    transaction_id, customer_id, transaction_date, transaction_amount, reverses, cast(status as String) as status,
    countIf(transactions.status = 'approved') over (
      partition by reverses, customer_id order by transaction_date, transaction_id rows between unbounded preceding and current row
    ) as turn
  from {database}.spending_transactions as transactions
  where reverses is not null
) as reversal
left join (
  select
    transaction_id,
    toNullable(customer_id) as customer_id,
    toNullable(transaction_date) as transaction_date,
    toNullable(transaction_amount) as transaction_amount,
    cast(transactions.status as Nullable(String)) as status
  from {database}.spending_transactions as transactions
) as original on original.transaction_id = reversal.reverses
union all
select
  null, transaction_id, customer_id, null, transaction_date, null, transaction_amount, null, cast(status as String), 'no reversal'
from {database}.spending_transactions
where status = 'reversed'
  and (transaction_id, customer_id) not in (
    select assumeNotNull(reverses), customer_id from {database}.spending_transactions where reverses is not null
  )
comment 'Reversals with their originals, and what does not find its other half'
