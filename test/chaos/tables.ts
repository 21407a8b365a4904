/**
 * The tables beside the payments domain. `chaos` is the run's own schema, which is not replicated: `ledger_log` is what triggers say has
 * happened to the ledger, which nothing of Walhouse has touched.
 */
export const SCHEMA = `
  create schema chaos;

  create table ledger (
    id int8 primary key, account int4 not null, amount numeric(14, 2) not null, note text, booked_at timestamptz not null default now()
  );
  alter table ledger replica identity full;
  create table chaos.ledger_log (
    seq bigserial primary key, xid int8 not null default (pg_current_xact_id()::text::int8), op text not null, before jsonb, after jsonb
  );
  create function chaos.log_row() returns trigger language plpgsql as $$
    begin
      insert into chaos.ledger_log (op, before, after) values (
        case tg_op when 'INSERT' then 'c' when 'UPDATE' then 'u' else 'd' end,
        case when tg_op <> 'INSERT' then jsonb_build_object('id', old.id::text, 'account', old.account::text,
          'amount', old.amount::text, 'note', old.note, 'booked_at', old.booked_at::text) end,
        case when tg_op <> 'DELETE' then jsonb_build_object('id', new.id::text, 'account', new.account::text,
          'amount', new.amount::text, 'note', new.note, 'booked_at', new.booked_at::text) end);
      return null;
    end $$;
  create function chaos.log_truncate() returns trigger language plpgsql as $$
    begin insert into chaos.ledger_log (op) values ('t'); return null; end $$;
  create trigger log_row after insert or update or delete on ledger for each row execute function chaos.log_row();
  create trigger log_truncate after truncate on ledger for each statement execute function chaos.log_truncate();

  create table docs (id int8 primary key, revision int4 not null, title text, body text, meta jsonb, seen tstzrange);
  alter table docs alter column body set storage external;
  insert into docs select i, 0, 'Title ' || i, repeat(md5(i::text), 150), jsonb_build_object('i', i), null
    from generate_series(1, 200) i;

  create table readings (
    station text, day date, slot int2, value float8, tags text[], raw bytea, primary key (station, day, slot)
  );

  create type kind as enum ('small', 'large');
  create table items (id int8 primary key, name text not null, kind kind, qty int4);
  insert into items select i, 'item ' || i, 'small', i from generate_series(1, 500) i;

  create table bulk (id int8 primary key, tx int8 not null, v text);

  create table marks (id int4 primary key, n int8 not null);
  insert into marks values (1, 0);`;

/** A partitioned table; wal2json knows partitions by their own names only. */
export const PARTITIONED_SCHEMA = `
  create table visits (id int8, at date, who text, primary key (id, at)) partition by range (at);
  create table visits_1 partition of visits for values from ('2026-01-01') to ('2026-02-01');
  create table visits_2 partition of visits for values from ('2026-02-01') to ('2026-03-01');
  create table visits_rest partition of visits default;`;

export const RETENTION = { column: 'payment_date', keep: { count: 2, unit: 'year' } } as const;

/** The `tables:` part of the configuration. */
export function configuredTables(partitioned: boolean): Record<string, object> {
  return {
    'public.merchants': {},
    'public.payments': {
      retention: { column: RETENTION.column, keep: `${RETENTION.keep.count} ${RETENTION.keep.unit}s` },
    },
    'public.ledger': { history: true },
    'public.docs': {},
    'public.readings': {},
    'public.items': {},
    'public.bulk': {},
    'public.marks': {},
    ...(partitioned ? { 'public.visits': {} } : {}),
  };
}
