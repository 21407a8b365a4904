-- The role that Walhouse connects with: it may read the synced tables and the WAL, and write nothing.
--
-- For psql, run once by the owner of the tables (or a superuser) in the source database; running it again changes nothing
-- but the password:
--
--   WALHOUSE_PASSWORD=... psql "$OWNER_URL" -f postgres/roles.sql
--
-- The publication is made here because only a table's owner can put it into one. Whoever prefers that Walhouse keeps the publication
-- itself grants it the owning role and CREATE on the database instead:
--
--   grant shop_owner to walhouse;
--   grant create on database shop to walhouse;

\set ON_ERROR_STOP on
\getenv walhouse_password WALHOUSE_PASSWORD
\if :{?walhouse_password}
\else
  \warn 'roles.sql: set the environment variable WALHOUSE_PASSWORD to the password that the role is to have'
  -- psql has no "exit with a failure"; a failing statement under ON_ERROR_STOP is one.
  do $$ begin raise exception 'WALHOUSE_PASSWORD is not set'; end $$;
\endif

select 'create role walhouse' where not exists (select from pg_roles where rolname = 'walhouse') \gexec

-- REPLICATION is what creating and reading a slot takes. The limit leaves room for the stream, the ranges of a
-- snapshot and a standby, and keeps a fault from taking every connection of the source.
alter role walhouse with login replication nosuperuser nocreatedb nocreaterole noinherit
  connection limit 20 password :'walhouse_password';

-- Values are read as text: these make the text the same whatever the server's own settings are.
alter role walhouse set timezone = 'UTC';
alter role walhouse set datestyle = 'ISO';
-- A snapshot of a large table may take long; a transaction that somebody forgot may not.
alter role walhouse set statement_timeout = 0;
alter role walhouse set idle_in_transaction_session_timeout = '1h';

select format('grant connect on database %I to walhouse', current_database()) \gexec
grant usage on schema public to walhouse;
grant select on table public.merchants, public.payments to walhouse;

-- Under their root's name, should one of the tables become partitioned: Walhouse wants it so, and may not change it.
select 'create publication walhouse for table only public.merchants, only public.payments
          with (publish_via_partition_root = true)'
where not exists (select from pg_publication where pubname = 'walhouse') \gexec
