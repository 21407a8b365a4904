-- The user for instances that only answer questions (`walhouse run --api-only`, sink.url there).
-- It may read the rows that answers are made of and the position they are of; it changes nothing, whatever it is asked.
-- {database} is sink.database. Run by an administrator; again after an upgrade, and to change the password:
--
--   sed -e "s/{database}/shop/g" -e "s/{password_sha256}/$(printf %s "$READER_PASSWORD" | sha256sum | cut -c1-64)/" \
--     clickhouse/roles/reader.sql | clickhouse client --host HOST --user ADMIN --ask-password

-- 2: no statement that changes anything; settings of a query may be given, since Walhouse pins those that decide what an answer means.
create settings profile or replace {database}_reader settings
  readonly = 2 const;

create user if not exists {database}_reader identified with sha256_hash by '{password_sha256}' settings profile {database}_reader;

alter user {database}_reader identified with sha256_hash by '{password_sha256}' settings profile {database}_reader;

grant
  select on {database}.*,
  select on {database}_landing._walhouse_owner,
  select on {database}_landing._walhouse_checkpoint,
  select on {database}_landing._walhouse_tables,
  select on {database}_landing._walhouse_reports
to {database}_reader with replace option;
