import type pg from 'pg';

/** Row changes of the workload: five inserts to one update, in transactions of 100 rows. */
export const CHANGES = Number(process.env['BENCH_CHANGES'] ?? 1_000_000);
export const TABLE = 'public.bench_changes';

export async function createTable(client: pg.Client): Promise<void> {
  await client.query(`
    drop table if exists ${TABLE};
    create table ${TABLE} (
      id bigint primary key,
      account bigint not null,
      amount numeric(12,2) not null,
      status text not null,
      method text not null,
      created timestamptz not null,
      note text
    );
    alter table ${TABLE} replica identity full;
  `);
}

/** Writes the changes; what is written depends on the row's number alone, so every run has the same bytes. */
export async function writeChanges(client: pg.Client): Promise<void> {
  const inserts = Math.round((CHANGES * 5) / 6);
  await client.query('set synchronous_commit = off');
  await client.query(`
    do $$
    begin
      for begun in 1..${inserts} by 100 loop
        insert into ${TABLE}
          select i, i % 5000, (i % 100000) / 100.0, 'Pending', 'Visa',
                 timestamptz '2026-01-01 00:00:00+00' + i * interval '1 second', 'note ' || i
          from generate_series(begun, least(begun + 99, ${inserts})) i;
        commit;
      end loop;
      for begun in 1..${CHANGES - inserts} by 100 loop
        update ${TABLE} set status = 'Paid', amount = amount + 1
          where id between begun and least(begun + 99, ${CHANGES - inserts});
        commit;
      end loop;
    end $$`);
}
