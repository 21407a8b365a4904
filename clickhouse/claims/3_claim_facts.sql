-- Question: what is known of each claim, and what is wrong with it?
-- Grain:    one row per claim; no claim is left out for being wrong.
-- Cost:     a view: a pass over all four tables. It has to be one: an item changes the row of a claim three tables away.
--
-- Statuses are brought to one spelling: letters and digits alone decide, and the words are written in capitals with _ between
-- them, so ReSubmitted, RESUBMITTED and "re-submitted" are RESUBMITTED. A flag is 1 where the rule is broken. What a flag says of the amount
-- decides about sums: `is_suspicious` is 1 where the claim has no treatment, or no amount, a negative or an absurd one, or one in another
-- currency. SUMS LEAVE SUSPICIOUS CLAIMS OUT BY DEFAULT: sum(counted_amount) does, sum(amount) does not. Zero amounts add
-- nothing, and a claim may differ from its invoices for good reasons (a part that the patient pays), so these are flagged and counted.
-- An invoice is paid by all claims of its treatment together (a benefit and a voucher, say), so amount_differs compares the
-- sum of the treatment's claims, without the deleted ones, with the sum of the items that stand, where there are any.
-- A treatment that is past its retention is one that is not there.
--
-- tracks: claims.treatments ()
-- tracks: claims.invoices ()
-- tracks: claims.invoice_items ()
-- tracks: claims.claims ()
create view {database}.claim_facts (
  claim_id Int64 comment 'The claim',
  status Nullable(String) comment 'DRAFT, SUBMITTED, RESUBMITTED, APPROVED, PARTIALLY_REJECTED, REJECTED, DELETED, ...: one spelling',
  type Nullable(String) comment 'Benefit or Voucher',
  program_id Nullable(Int64) comment 'The program that is to pay',
  amount Nullable(Decimal(19, 4)) comment 'Amount claimed, as the source has it; sum counted_amount instead',
  counted_amount Decimal(19, 4) comment 'Amount claimed; 0 where is_suspicious is 1, so that sums leave those claims out',
  currency Nullable(String) comment 'Currency of the amount',
  date_created Nullable(DateTime64(6, 'UTC')) comment 'When the claim was made, as the source has it, without time zone',
  date_modified Nullable(DateTime64(6, 'UTC')) comment 'When it was last changed, as the source has it, without time zone',
  treatment_id Nullable(Int64) comment 'The treatment that is claimed for',
  treatment_status Nullable(String) comment 'Status of the treatment, in one spelling; null where there is no such treatment',
  treatment_program_id Nullable(Int64) comment 'The program that the treatment belongs to',
  date_treatment Nullable(DateTime64(6, 'UTC')) comment 'When the patient was treated',
  date_submitted Nullable(DateTime64(6, 'UTC')) comment 'When the treatment was handed in',
  invoices UInt64 comment 'Number of invoices of the treatment',
  invoice_items UInt64 comment 'Number of items on them that stand',
  invoice_items_all UInt64 comment 'Number of items on them, deleted, replaced and rejected ones among them',
  invoice_total Decimal(38, 4) comment 'Sum of the items that stand',
  invoice_total_all Decimal(38, 4) comment 'Sum of all items',
  treatment_claims UInt64 comment 'Number of claims for the treatment, without deleted ones',
  treatment_claimed Decimal(38, 4) comment 'Their sum',
  no_date_created UInt8 comment '1: the claim has no creation date',
  no_date_modified UInt8 comment '1: the claim has no date of its last change',
  is_orphan UInt8 comment '1: there is no such treatment, or none is named; in no sum',
  no_invoice UInt8 comment '1: the treatment is there and has no invoice',
  several_invoices UInt8 comment '1: the treatment has more than one invoice',
  several_claims UInt8 comment '1: the treatment has more than one claim that is not deleted',
  amount_missing UInt8 comment '1: there is no amount; in no sum',
  amount_negative UInt8 comment '1: the amount is below zero; in no sum',
  amount_zero UInt8 comment '1: the amount is zero',
  amount_absurd UInt8 comment '1: the amount is above the bound of claims_bounds; in no sum',
  currency_foreign UInt8 comment '1: the currency is not that of claims_bounds, or missing; in no sum',
  amount_differs UInt8 comment '1: the claims for the treatment and its invoices come to different sums; 0 for deleted claims and without items',
  program_differs UInt8 comment '1: claim and treatment name different programs',
  is_suspicious UInt8 comment '1: a flag says that the amount cannot be trusted; sums leave it out by default'
) as
with
  (select home_currency from {database}.claims_bounds) as home,
  (select absurd_amount from {database}.claims_bounds) as absurd
select
  spelled.id as claim_id,
  spelled.status as status,
  spelled.type as type,
  spelled.program_id as program_id,
  spelled.amount as amount,
  if(is_suspicious = 1, 0, ifNull(spelled.amount, 0)) as counted_amount,
  spelled.currency as currency,
  spelled.date_created as date_created,
  spelled.date_modified as date_modified,
  spelled.treatment_id as treatment_id,
  treatment.status as treatment_status,
  treatment.program_id as treatment_program_id,
  treatment.date_treatment as date_treatment,
  treatment.date_submitted as date_submitted,
  charged.invoices as invoices,
  charged.items as invoice_items,
  charged.items_all as invoice_items_all,
  charged.total as invoice_total,
  charged.total_all as invoice_total_all,
  spelled.treatment_claims as treatment_claims,
  spelled.treatment_claimed as treatment_claimed,
  spelled.date_created is null as no_date_created,
  spelled.date_modified is null as no_date_modified,
  treatment.is_there = 0 as is_orphan,
  treatment.is_there = 1 and charged.invoices = 0 as no_invoice,
  charged.invoices > 1 as several_invoices,
  spelled.treatment_claims > 1 as several_claims,
  spelled.amount is null as amount_missing,
  ifNull(spelled.amount < 0, 0) as amount_negative,
  ifNull(spelled.amount = 0, 0) as amount_zero,
  ifNull(spelled.amount > absurd, 0) as amount_absurd,
  ifNull(spelled.currency <> home, 1) as currency_foreign,
  ifNull(spelled.status, '') <> 'DELETED' and charged.items > 0 and spelled.treatment_claimed <> charged.total as amount_differs,
  treatment.is_there = 1 and not (spelled.program_id <=> treatment.program_id) as program_differs,
  is_orphan or amount_missing or amount_negative or amount_absurd or currency_foreign as is_suspicious
from (
  select
    id, cast(type as Nullable(String)) as type, program_id, amount, cast(currency as Nullable(String)) as currency,
    date_created, date_modified, treatment_id,
    replaceRegexpAll(lower(cast(claims.status as Nullable(String))), '[^a-z0-9]', '') as letters,
    multiIf(letters = 'partiallyrejected', 'PARTIALLY_REJECTED', letters = 'inprogress', 'IN_PROGRESS', upper(letters)) as status,
    -- One claim without a treatment has nothing in common with another.
    if(treatment_id is null, 0, countIf(ifNull(status, '') <> 'DELETED') over (partition by treatment_id)) as treatment_claims,
    if(treatment_id is null, 0, sumIf(ifNull(amount, 0), ifNull(status, '') <> 'DELETED') over (partition by treatment_id)) as treatment_claimed
  from {database}.claims_claims as claims
) as spelled
left join (
  select
    id, 1 as is_there, program_id, date_treatment, date_submitted,
    replaceRegexpAll(lower(cast(treatments.status as Nullable(String))), '[^a-z0-9]', '') as letters,
    multiIf(letters = 'partiallyrejected', 'PARTIALLY_REJECTED', letters = 'inprogress', 'IN_PROGRESS', upper(letters)) as status
  from {database}.claims_treatments as treatments
) as treatment on treatment.id = spelled.treatment_id
left join {database}.claims_treatment_totals as charged on charged.treatment_id = spelled.treatment_id
comment 'Claims with their treatment, the sum of its invoices and flags for what is wrong; sums leave suspicious claims out by default (counted_amount)'
