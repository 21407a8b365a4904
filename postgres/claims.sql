-- The claims domain: treatments of patients, the invoices for them, and what is claimed for them from a program.
--
-- Grain: one row a treatment, an invoice, an item of an invoice, a claim. Loading it again changes nothing. There are no foreign
-- keys, and hardly a column has to have a value: the rows come out of a system that enforces neither, and what is wrong
-- with them is for claim_quality to say, not for an insert to refuse. Timestamps are without time zone, as that system writes them.

create schema if not exists claims;

create table if not exists claims.treatments (
  id             bigint not null primary key,
  status         text,
  date_created   timestamp,
  date_modified  timestamp,
  date_submitted timestamp,
  date_treatment timestamp,
  program_id     bigint
);

create table if not exists claims.invoices (
  id           bigint not null primary key,
  status       text,
  date_created timestamp,
  treatment_id bigint
);

create table if not exists claims.invoice_items (
  id           bigint not null primary key,
  status       text,
  date_created timestamp,
  invoice_id   bigint,
  product_id   bigint,
  currency     text,
  amount       numeric(19, 4)
);

create table if not exists claims.claims (
  id            bigint not null primary key,
  status        text,
  type          text,
  date_created  timestamp,
  date_modified timestamp,
  treatment_id  bigint,
  program_id    bigint,
  amount        numeric(19, 4),
  currency      text
);

-- Deletes and updates then carry the whole old row, so that a row whose date moves leaves the place where it stood before.
alter table claims.treatments replica identity full;
alter table claims.invoices replica identity full;
alter table claims.invoice_items replica identity full;
alter table claims.claims replica identity full;

comment on table claims.treatments is 'Treatments of patients; one row a treatment.';
comment on column claims.treatments.id is 'Identifies the treatment.';
comment on column claims.treatments.status is 'OPEN, IN_PROGRESS, SUBMITTED, CLOSED, DELETED, ...; written in several ways.';
comment on column claims.treatments.date_created is 'When the row was made, without time zone; may be missing.';
comment on column claims.treatments.date_modified is 'When the row was last changed, without time zone; may be missing. Retention goes by it.';
comment on column claims.treatments.date_submitted is 'When it was handed in for payment, without time zone; missing until then.';
comment on column claims.treatments.date_treatment is 'When the patient was treated, without time zone; may be missing.';
comment on column claims.treatments.program_id is 'The program that the patient belongs to.';

comment on table claims.invoices is 'Invoices for treatments; one row an invoice.';
comment on column claims.invoices.id is 'Identifies the invoice.';
comment on column claims.invoices.status is 'DRAFT, SUBMITTED, FINAL, ...; written in several ways.';
comment on column claims.invoices.date_created is 'When the row was made, without time zone; often missing. Retention goes by it.';
comment on column claims.invoices.treatment_id is 'The treatment that is charged for; should be one, and one only.';

comment on table claims.invoice_items is 'What invoices are made of; one row an item.';
comment on column claims.invoice_items.id is 'Identifies the item.';
comment on column claims.invoice_items.status is 'ACTIVE, SUBMITTED, APPROVED, REJECTED, REPLACED, DELETED, ...; written in several ways.';
comment on column claims.invoice_items.date_created is 'When the row was made, without time zone; often missing. Retention goes by it.';
comment on column claims.invoice_items.invoice_id is 'The invoice that it is on.';
comment on column claims.invoice_items.product_id is 'What is charged for; a negative number is a product that somebody typed in.';
comment on column claims.invoice_items.currency is 'Currency of the amount, as ISO 4217 writes it.';
comment on column claims.invoice_items.amount is 'Amount of the item, to a hundredth of a cent.';

comment on table claims.claims is 'What is claimed from a program for a treatment; one row a claim.';
comment on column claims.claims.id is 'Identifies the claim.';
comment on column claims.claims.status is 'Draft, Submitted, Approved, Rejected, PartiallyRejected, ...; written in several ways.';
comment on column claims.claims.type is 'Benefit or Voucher.';
comment on column claims.claims.date_created is 'When the row was made, without time zone; often missing.';
comment on column claims.claims.date_modified is 'When the row was last changed, without time zone; may be missing. Retention goes by it.';
comment on column claims.claims.treatment_id is 'The treatment that is claimed for, which may not be there.';
comment on column claims.claims.program_id is 'The program that is to pay.';
comment on column claims.claims.amount is 'Amount claimed, to a hundredth of a cent.';
comment on column claims.claims.currency is 'Currency of the amount, as ISO 4217 writes it.';
