-- The spending domain: what customers spend, and what is declined or taken back again.
--
-- Grain: one row a transaction; a reversal is a transaction of its own. Loading it again changes nothing.

create schema if not exists spending;

-- No foreign key from a reversal to its original: either may arrive first, and some originals never do.
create table if not exists spending.transactions (
  transaction_id     bigint         not null primary key,
  customer_id        bigint         not null,
  transaction_date   timestamptz    not null,
  transaction_amount numeric(19, 4) not null,
  product_category   text,
  transaction_type   text           not null,
  status             text           not null,
  reverses           bigint,
  last_modified      timestamptz    not null default now(),
  constraint transactions_status_known check (status in ('pending', 'approved', 'declined', 'reversed'))
);

create index if not exists transactions_customer_date on spending.transactions (customer_id, transaction_date);

-- Deletes and updates then carry the whole old row.
alter table spending.transactions replica identity full;

comment on table spending.transactions is 'What customers spend; one row a transaction, a reversal being one too.';
comment on column spending.transactions.transaction_id is 'Identifies the transaction; never reused.';
comment on column spending.transactions.customer_id is 'The customer, whose account it is.';
comment on column spending.transactions.transaction_date is 'When it was made, which may be long before it arrived; months go by it, in UTC.';
comment on column spending.transactions.transaction_amount is 'Amount in the currency of account; negative where money goes back to the customer.';
comment on column spending.transactions.product_category is 'What was bought; open-ended, and unknown for some.';
comment on column spending.transactions.transaction_type is 'purchase, refund, fee, withdrawal, reversal, ...; open-ended.';
comment on column spending.transactions.status is 'pending at first, then approved or declined; reversed once it has been taken back.';
comment on column spending.transactions.reverses is 'For a reversal: the transaction that it takes back. Null for any other.';
comment on column spending.transactions.last_modified is 'When the row was last changed.';
