-- Question: how many claims were approved in which month, by program and type, and for how much?
-- Grain:    one row per month, program and type with an approved or a rejected claim.
-- Cost:     a view: that of claim_facts.
--
-- The source keeps no date of approval. A claim belongs to the month (of its own clock, without time zone) in which it was last changed, or,
-- where that is missing, made; where both are, to a row whose month is null. SUSPICIOUS CLAIMS ARE NOT IN approved AND approved_amount (see
-- claim_facts for what makes them so); `suspicious` counts them and approved_amount_all has everything, as if all were of one currency.
--
-- tracks: claims.treatments ()
-- tracks: claims.invoices ()
-- tracks: claims.invoice_items ()
-- tracks: claims.claims ()
create view {database}.approvals_monthly (
  month Nullable(Date32) comment 'First day of the month; null for claims without any date',
  program_id Nullable(Int64) comment 'The program that is to pay',
  type Nullable(String) comment 'Benefit or Voucher',
  approved UInt64 comment 'Approved claims without suspicious ones',
  approved_amount Decimal(38, 4) comment 'Their sum: suspicious claims are not in it',
  suspicious UInt64 comment 'Approved claims that were left out as suspicious',
  approved_amount_all Decimal(38, 4) comment 'Sum of all approved claims, suspicious ones among them, as if of one currency',
  rejected UInt64 comment 'Rejected claims, suspicious ones among them',
  partially_rejected UInt64 comment 'Partially rejected claims, suspicious ones among them'
) as
select
  subtractDays(day, toDayOfMonth(day) - 1) as month,
  program_id,
  type,
  countIf(status = 'APPROVED' and is_suspicious = 0) as approved,
  sumIf(counted_amount, status = 'APPROVED') as approved_amount,
  countIf(status = 'APPROVED' and is_suspicious = 1) as suspicious,
  sumIf(ifNull(amount, 0), status = 'APPROVED') as approved_amount_all,
  countIf(status = 'REJECTED') as rejected,
  countIf(status = 'PARTIALLY_REJECTED') as partially_rejected
from (
  select toDate32(coalesce(date_modified, date_created)) as day, program_id, type, status, is_suspicious, amount, counted_amount
  from {database}.claim_facts
  where status in ('APPROVED', 'REJECTED', 'PARTIALLY_REJECTED')
) as decided
group by month, program_id, type
comment 'Approved and rejected claims by month, program and type; amounts are without suspicious claims'
