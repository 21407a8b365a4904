-- The banking domain: consumers, the merchants they pay, the banks they pay through, and their transactions.
--
-- Grain: one row a party, one row a transaction. Plain SQL, so it loads through psql and through any driver;
-- loading it again changes nothing. Comments on tables and columns are data: Walhouse carries them to ClickHouse,
-- where an analyst reads them with DESCRIBE.
create schema if not exists banking;

create table if not exists banking.consumers (
  id                  integer   not null primary key,
  name                text,
  prefered_merchants  integer[] not null default '{}',
  -- A plain list, so that it can be kept as an Array in ClickHouse.
  constraint consumers_prefered_merchants_plain check (
    array_position(prefered_merchants, null) is null
    and coalesce(array_ndims(prefered_merchants), 1) = 1
    and coalesce(array_lower(prefered_merchants, 1), 1) = 1
  )
);

create table if not exists banking.merchants (
  id       integer not null primary key,
  name     text,
  zipcode  text
);

create table if not exists banking.banks (
  id       integer not null primary key,
  name     text,
  zipcode  text
);

-- Nothing here is refused: transactions come from many banks, with fields missing and with parties that nobody knows (yet),
-- and what is wrong with them is for the marts to say. Hence no foreign keys, no checks, and every column but the key may be null.
create table if not exists banking.transactions (
  id              bigint not null primary key,
  amount          numeric(10, 5),
  creation_date   timestamptz,
  execution_date  timestamptz,
  label           text,
  country_code    text,
  consumer_id     integer,
  bank_id         integer,
  merchant_id     integer
);

-- One consumer's transactions, asked of Postgres itself.
create index if not exists transactions_consumer_execution on banking.transactions (consumer_id, execution_date);

-- Deletes and updates then carry the whole old row in the WAL. Without it a transaction that is redated, given to another consumer
-- or deleted could not be taken out of the place where it stood before.
alter table banking.consumers replica identity full;
alter table banking.merchants replica identity full;
alter table banking.banks replica identity full;
alter table banking.transactions replica identity full;

-- For asking the marts' questions of Postgres: whether ISO 3166-1 has the code, in capitals as it writes it.
create or replace function banking.is_country(code text) returns boolean language sql immutable as $$
  select code ~ '^[A-Z][A-Z]$' and strpos('
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD
    CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF
    GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN
    KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI
    SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI
    VN VU WF WS YE YT ZA ZM ZW
  ', code) > 0
$$;

comment on function banking.is_country is 'Whether the code is one of the two-letter codes of ISO 3166-1, as of 2026.';

comment on table banking.consumers is 'People who pay; one row a consumer.';
comment on column banking.consumers.id is 'Identifies the consumer; never reused.';
comment on column banking.consumers.name is 'Name as the consumer writes it.';
comment on column banking.consumers.prefered_merchants is 'Merchants that the consumer says to prefer, by id, the most liked first.';

comment on table banking.merchants is 'Who is paid; one row a merchant.';
comment on column banking.merchants.id is 'Identifies the merchant; never reused.';
comment on column banking.merchants.name is 'Trading name.';
comment on column banking.merchants.zipcode is 'Postal code of its seat, as text: some begin with 0.';

comment on table banking.banks is 'Through whom is paid; one row a bank.';
comment on column banking.banks.id is 'Identifies the bank; never reused.';
comment on column banking.banks.name is 'Name of the bank.';
comment on column banking.banks.zipcode is 'Postal code of its seat, as text: some begin with 0.';

comment on table banking.transactions is 'Transactions as the banks report them, right or wrong; one row a transaction.';
comment on column banking.transactions.id is 'Identifies the transaction; never reused.';
comment on column banking.transactions.amount is 'What the consumer pays, in the currency of account; negative in rows that take another one back.';
comment on column banking.transactions.creation_date is 'When the transaction was entered.';
comment on column banking.transactions.execution_date is 'When it was carried out; retention goes by it.';
comment on column banking.transactions.label is 'What the bank writes on the statement; "compensates 42" where the row takes back transaction 42, or part of it.';
comment on column banking.transactions.country_code is 'Where it was made: two letters of ISO 3166-1.';
comment on column banking.transactions.consumer_id is 'Who pays.';
comment on column banking.transactions.bank_id is 'Through which bank.';
comment on column banking.transactions.merchant_id is 'Who is paid; null where it is no merchant, as with cash and transfers.';
