-- One person, or one tool (Grafana, Metabase), with the role that analyst.sql makes; run that first.
-- {user} is the name, {database} is sink.database. Run by an administrator; again to change the password:
--
--   sed -e "s/{database}/shop/g" -e "s/{user}/anna/g" -e "s/{password_sha256}/$(printf %s "$ANNA_PASSWORD" | sha256sum | cut -c1-64)/" \
--     clickhouse/roles/analyst_user.sql | clickhouse client --host HOST --user ADMIN --ask-password
--
-- With curl, which takes one statement at a time:
--
--   sed ... clickhouse/roles/analyst_user.sql | while read -r -d ';' statement; do
--     curl -sS --fail-with-body --user ADMIN "$CLICKHOUSE_URL" --data-binary "$statement"
--   done

create user if not exists {user} identified with sha256_hash by '{password_sha256}';

alter user {user} identified with sha256_hash by '{password_sha256}';

grant {database}_analyst to {user};
