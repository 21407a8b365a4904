-- The payments domain: what a source looks like that Walhouse follows.
--
-- Grain: one row a merchant, one row a payment. Plain SQL, so it loads through psql and through any driver;
-- loading it again changes nothing. Comments on tables and columns are data: Walhouse carries them to ClickHouse,
-- where an analyst reads them with DESCRIBE.

create table if not exists public.merchants (
  merchant_id    bigint      not null primary key,
  name           text        not null,
  address        text,
  phone          text,
  email          text,
  ingestion_date timestamptz not null default now()
);

-- No foreign key to merchants: payments come in through several doors, and one may be ingested before the
-- merchant that it belongs to.
create table if not exists public.payments (
  payment_id     bigint         not null primary key,
  merchant_id    bigint         not null,
  customer_id    bigint         not null,
  amount         numeric(12, 2) not null,
  method         text           not null,
  status         text           not null,
  payment_date   timestamptz    not null,
  ingestion_date timestamptz    not null default now(),
  constraint payments_status_known check (status in ('Pending', 'Paid', 'Rejected'))
);

-- The seven-day question, asked of Postgres itself: one merchant, a range of payment dates.
create index if not exists payments_merchant_date on public.payments (merchant_id, payment_date);

-- Deletes and updates then carry the whole old row in the WAL. Without it a payment that is redated, reassigned or deleted
-- could not be taken out of the place where it stood before.
alter table public.merchants replica identity full;
alter table public.payments replica identity full;

comment on table public.merchants is 'Merchants that payments are made to; one row a merchant.';
comment on column public.merchants.merchant_id is 'Identifies the merchant; never reused.';
comment on column public.merchants.name is 'Trading name, as the merchant writes it.';
comment on column public.merchants.address is 'Postal address in one line.';
comment on column public.merchants.phone is 'Telephone number in international form.';
comment on column public.merchants.email is 'Address for correspondence.';
comment on column public.merchants.ingestion_date is 'When this system first saw the merchant.';

comment on table public.payments is 'Payments to merchants, with their present status; one row a payment.';
comment on column public.payments.payment_id is 'Identifies the payment; never reused.';
comment on column public.payments.merchant_id is 'The merchant that is paid; a correction may move a payment to another.';
comment on column public.payments.customer_id is 'The customer who pays.';
comment on column public.payments.amount is 'Amount in the currency of account, to the cent; corrections change it.';
comment on column public.payments.method is 'Visa, Mastercard, Check, ...; open-ended.';
comment on column public.payments.status is 'Pending at first, then Paid or Rejected.';
comment on column public.payments.payment_date is 'When the payment was made, which may be long before it was ingested; retention and the seven-day window go by it.';
comment on column public.payments.ingestion_date is 'When this system first saw the payment.';
