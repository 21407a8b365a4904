-- The role of people and tools that ask questions in SQL (analyst_user.sql makes one of them).
-- It may read every view and mart of {database} and the audit trails. It sees current rows within their retention, and masked columns as
-- they are stored; nothing of {database}_landing, no other database, no running queries of others, no files, no other servers, and it
-- changes nothing. {database} is sink.database. Run by an administrator, before or after `walhouse run`; again after an upgrade:
--
--   sed "s/{database}/shop/g" clickhouse/roles/analyst.sql | clickhouse client --host HOST --user ADMIN --ask-password

create role if not exists {database}_analyst;

grant
  select on {database}.*,
  select on {database}_audit.*
to {database}_analyst with replace option;

-- What marts keep for themselves: superseded and deleted versions of rows, for a while also past the rows' retention.
revoke
  select on {database}.payments_7d,
  select on {database}.payments_7d_feed,
  select on {database}.merchants_known,
  select on {database}.merchants_known_feed,
  select on {database}.banking_history_rows,
  select on {database}.banking_history_feed
from {database}_analyst;

-- Only what is named here may be set by a query: limits up to ours, and what drivers and tools send by themselves.
create settings profile or replace {database}_analyst settings
  readonly = 1 const,
  allow_ddl = 0 const,
  max_execution_time = 60 min 1 max 60 changeable_in_readonly,
  max_memory_usage = 4000000000 min 1 max 4000000000 changeable_in_readonly,
  max_rows_to_read = 1000000000 min 1 max 1000000000 changeable_in_readonly,
  max_result_rows = 1000000 min 1 max 1000000 changeable_in_readonly,
  max_concurrent_queries_for_user = 8 const,
  result_overflow_mode changeable_in_readonly,
  compile_aggregate_expressions changeable_in_readonly,
  date_time_output_format changeable_in_readonly,
  enable_http_compression changeable_in_readonly,
  extremes changeable_in_readonly,
  join_use_nulls changeable_in_readonly,
  log_comment changeable_in_readonly,
  output_format_binary_write_json_as_string changeable_in_readonly,
  output_format_json_quote_64bit_integers changeable_in_readonly,
  send_progress_in_http_headers changeable_in_readonly,
  session_timezone changeable_in_readonly
to {database}_analyst;

-- For each user apart.
create quota or replace {database}_analyst keyed by user_name
  for interval 1 hour max queries = 2000, execution_time = 1800, read_rows = 50000000000
to {database}_analyst;
