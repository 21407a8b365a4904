-- Question: whom should we call first about open invoices?
-- Grain:    one row per account with an open (unpaid) invoice; rank 1 is to be called first.
-- Cost:     a view: a pass over invoice_features and invoices, about 100 ms for 10,000 invoices with 50,000 lines (2 cores).
--
-- The formula:
--   call_score = open_amount * usual_days_late: the money that is open, times the days that it will probably come late.
--   usual_days_late = (late_days + 5 * M) / (judged_invoices + 5), to two digits, where
--     judged_invoices are those that tell something: paid ones, and open ones older than 30 days;
--     late_days is the sum of their days beyond the 30th: until the payment, or until today (UTC) while there is none;
--     M is late_days / judged_invoices of all invoices together (0 while there are none). An account of which little is known is
--     taken to be like the others: it has five invoices' worth of M before its own count.
--   Rank is by call_score, then by open_amount, then by the smaller account_id. Whole numbers and decimals throughout, so a rank never
--   hangs on the last bit of a float.
--
-- What is at stake is the whole open amount, due or not; what is due already stands beside it as overdue_amount.
--
-- tracks: receivables.invoices ()
-- tracks: receivables.invoice_line_items ()
-- tracks: receivables.skus ()
-- tracks: receivables.accounts ()
-- needs: receivables.accounts (company_name String, contact_person String, contact_phone String)
create view {database}.accounts_to_call (
  rank UInt64 comment '1: to be called first',
  account_id Int32 comment 'The account',
  company_name Nullable(String) comment 'Its company; null where there is no such account',
  contact_person Nullable(String) comment 'Whom to ask for',
  contact_phone Nullable(String) comment 'Where to call',
  open_invoices UInt64 comment 'Unpaid invoices',
  open_amount Decimal(38, 4) comment 'What they are worth',
  overdue_invoices UInt64 comment 'Unpaid invoices older than 30 days',
  overdue_amount Decimal(38, 4) comment 'What those are worth',
  oldest_open_days Int32 comment 'Days since the oldest open invoice was issued',
  judged_invoices UInt64 comment 'Paid invoices, and open ones older than 30 days',
  late_invoices UInt64 comment 'Those of them that were, or are, late',
  usual_days_late Decimal(18, 2) comment 'Days beyond the 30th that a payment of this account probably takes',
  call_score Decimal(38, 6) comment 'open_amount * usual_days_late'
) as
with
  toInt32(toDate32(now64(6, 'UTC'), 'UTC')) as today,
  judged as (
    select
      features.acct_id as acct_id,
      features.inv_total as amount,
      invoices.payment_dates is null as is_open,
      features.is_late is not null as is_judged,
      ifNull(features.is_late, 0) as late,
      today - toInt32(invoices.date_issued) as age,
      if(late = 1, ifNull(toInt32(invoices.payment_dates), today) - toInt32(invoices.date_issued) - 30, 0) as days
    from {database}.invoice_features as features
    inner join {database}.receivables_invoices as invoices on invoices.invoice_id = features.inv_id
  ),
  scores as (
    select
      acct_id,
      countIf(is_open) as open_invoices,
      sumIf(amount, is_open) as open_amount,
      countIf(is_open and late = 1) as overdue_invoices,
      sumIf(amount, is_open and late = 1) as overdue_amount,
      maxIf(age, is_open) as oldest_open_days,
      countIf(is_judged) as judged_invoices,
      countIf(late = 1) as late_invoices,
      sum(days) as late_days,
      toInt128(sum(late_days) over ()) as all_days,
      toInt128(sum(judged_invoices) over ()) as all_judged,
      -- The fraction (late_days + 5 M) / (judged + 5), as two whole numbers.
      late_days * all_judged + 5 * all_days as numerator,
      (judged_invoices + 5) * all_judged as denominator,
      toDecimal64(if(denominator = 0, 0, intDiv(200 * numerator + denominator, 2 * greatest(denominator, 1))), 2) / 100
        as usual_days_late
    from judged
    group by acct_id
  )
select
  row_number() over (order by call_score desc, open_amount desc, account_id) as rank,
  scores.acct_id as account_id,
  accounts.company_name as company_name,
  accounts.contact_person as contact_person,
  accounts.contact_phone as contact_phone,
  scores.open_invoices as open_invoices,
  scores.open_amount as open_amount,
  scores.overdue_invoices as overdue_invoices,
  scores.overdue_amount as overdue_amount,
  scores.oldest_open_days as oldest_open_days,
  scores.judged_invoices as judged_invoices,
  scores.late_invoices as late_invoices,
  scores.usual_days_late as usual_days_late,
  scores.open_amount * scores.usual_days_late as call_score
from scores
left join (
  select
    account_id,
    toNullable(company_name) as company_name,
    contact_person,
    contact_phone
  from {database}.receivables_accounts
) as accounts on accounts.account_id = scores.acct_id
where scores.open_invoices > 0
comment 'Accounts with open invoices, by what is open times how late they usually pay'
