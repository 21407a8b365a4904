import { readFileSync } from 'node:fs';

/** What analysts are told. */
export const DOCUMENT = readFileSync(new URL('../../docs/ANALYSTS.md', import.meta.url), 'utf8');

/** In their order. */
export const QUESTIONS = [...DOCUMENT.matchAll(/### \d+\. ([^\n]*)\n[^#]*?```sql\n(.*?)```/gs)].map(
  ([, title, sql]) => ({
    title: title!,
    sql: sql!,
  }),
);

/** As it stands in the fifth; a test puts a moment in its place that it has noted. */
export const MOMENT = '2026-11-01 00:00:00';

/** Each question of the document on Postgres; of the sixth what followed the snapshot. `log`, `names` and `payments_then` are the test's. */
export const ON_POSTGRES: readonly string[] = [
  `select (payment_date at time zone 'UTC')::date::text as day, merchant_id, count(*) filter (where status = 'Rejected') as rejected, count(*) as total,
          round(count(*) filter (where status = 'Rejected')::numeric / count(*), 4) as share
     from payments where (payment_date at time zone 'UTC')::date > (now() at time zone 'UTC')::date - 30 group by 1, 2 order by 1, 2`,
  `select month::date::text as month, paid, paid - coalesce(lag(paid) over (order by month), paid) as change
     from (select date_trunc('month', payment_date at time zone 'UTC') as month, sum(amount) as paid from payments where status = 'Paid' group by 1) m
    order by 1`,
  `select row_number() over (order by rejected::numeric / total desc, rejected_amount desc, merchant_id) as rank, merchant_id, name,
          rejected as rejected_count, total as total_count, rejected_amount
     from (select merchant_id, count(*) filter (where status = 'Rejected') as rejected, count(*) as total,
                  coalesce(sum(amount) filter (where status = 'Rejected'), 0) as rejected_amount
             from payments where payment_date > now() - interval '168 hours' and payment_date <= now() group by 1 having count(*) >= 20) n
     left join merchants using (merchant_id) order by 1 limit 10`,
  `select cohort::date::text as cohort, (extract(year from age(month, cohort)) * 12 + extract(month from age(month, cohort)))::int as months_later,
          count(distinct customer_id) as customers
     from (select customer_id, date_trunc('month', payment_date at time zone 'UTC') as month,
                  min(date_trunc('month', payment_date at time zone 'UTC')) over (partition by customer_id) as cohort from payments) p
    group by 1, 2 order by 1, 2`,
  `select status, count(*) as payments, sum(amount) as amount from payments_then group by 1 order by 1`,
  `select lower(op) as op, coalesce(after, before) ->> 'status' as status, (coalesce(after, before) ->> 'amount')::numeric as amount
     from log where "table" = 'payments' and coalesce(after, before) ->> 'payment_id' = '1' order by seq`,
  `select (after ->> 'payment_id')::int as payment_id, replace(op, 'i', 'c') as op,
          floor(extract(epoch from at - (after ->> 'payment_date')::timestamptz) / 3600) as hours_late
     from log where "table" = 'payments' and (op = 'i' and (after ->> 'payment_date')::timestamptz < at - interval '1 day'
       or op = 'u' and after ->> 'payment_date' != before ->> 'payment_date') order by 1, seq`,
  `select payment_id, p.merchant_id, t.name as name_then, m.name as name_now
     from payments p join merchants m using (merchant_id)
     join lateral (select name from names where names.merchant_id = p.merchant_id and at <= p.payment_date order by at desc limit 1) t on true
    order by 1`,
  `select method, count(*) as decided, 0 as median_minutes from (
     select after ->> 'payment_id' as id, min(after ->> 'method') as method from log where "table" = 'payments' and op in ('i', 'u')
      group by 1 having bool_or(op = 'i') and bool_or(after ->> 'status' != 'Pending')) d group by 1 order by 1`,
  `select after ->> 'merchant_id' as merchant_id, count(*) as corrections, sum((after ->> 'amount')::numeric - (before ->> 'amount')::numeric) as difference
     from log where "table" = 'payments' and op = 'u' and after ->> 'amount' != before ->> 'amount' group by 1 order by 1`,
];
