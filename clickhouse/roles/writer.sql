-- The user that `walhouse run` and every other command but `run --api-only` connects with (sink.url).
-- It may make and fill the three databases and look at what may hold copies of their rows; nothing of anybody else's, no users, no files,
-- no other servers. {database} is sink.database. Run by an administrator; again after an upgrade, and to change the password:
--
--   sed -e "s/{database}/shop/g" -e "s/{password_sha256}/$(printf %s "$WRITER_PASSWORD" | sha256sum | cut -c1-64)/" \
--     clickhouse/roles/writer.sql | clickhouse client --host HOST --user ADMIN --ask-password
--
-- docs/ANALYSTS.md has the same for curl.

create user if not exists {database}_writer identified with sha256_hash by '{password_sha256}';

alter user {database}_writer identified with sha256_hash by '{password_sha256}';

-- Without the two rights on SYSTEM statements, erasure and retention take minutes instead of seconds until old parts have left the disk.
-- In one statement, so that an earlier version's rights go and nothing fails meanwhile. Which statements of an earlier instance still run
-- is seen in system.processes; its own may be ended without a right of their own. Retention and erasure have to know of every table
-- anywhere that is fed with rows, so names may be seen everywhere; what is in them may not.
grant
  create database, create table, create view, drop table, drop view, alter table, alter view, truncate, select, insert, system cleanup
    on {database}.*,
  create database, create table, create view, drop table, drop view, alter table, alter view, truncate, select, insert, system cleanup
    on {database}_landing.*,
  create database, create table, create view, drop table, drop view, alter table, alter view, truncate, select, insert, system cleanup
    on {database}_audit.*,
  show tables, show columns on *.*,
  select on system.parts,
  select on system.parts_columns,
  select on system.detached_parts,
  select on system.disks,
  select on system.processes,
  system sync file cache on *.*,
  table engine on MergeTree,
  table engine on ReplacingMergeTree,
  table engine on Memory,
  table engine on Null
to {database}_writer with replace option;
