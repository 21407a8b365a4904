-- The BG/NBD formula in its published form; the series has as many terms as its convergence asks for.
with
  parameters (r, alpha, a, b, p, q, gamma, t) as (select 1.2::float8, 5::float8, 0.7::float8, 3.5::float8, 6::float8, 4::float8, 25::float8, 52::float8),
  today (today) as (select (now() at time zone 'UTC')::date),
  by_day as (
    select customer_id, (transaction_date at time zone 'UTC')::date as day, sum(transaction_amount) as spent
    from spending.transactions as t
    where transaction_type = 'purchase' and transaction_amount > 0 and transaction_date <= now()
      and status not in ('declined', 'reversed') and reverses is null
      and not exists (
        select from spending.transactions as back
        where back.reverses = t.transaction_id and back.customer_id = t.customer_id and back.status = 'approved'
      )
    group by 1, 2
  ),
  customers as (
    select
      customer_id, min(day) as first_day, max(day) as last_day, count(*) as days, sum(spent) as spent,
      (array_agg(spent order by day))[1] as spent_first
    from by_day group by customer_id
  ),
  known as (
    select
      *, (days - 1)::float8 as x, (last_day - first_day) / 7::float8 as t_x, (today - first_day) / 7::float8 as age,
      t / (alpha + (today - first_day) / 7::float8 + t) as z
    from customers cross join parameters cross join today
  ),
  forecast as (
    select
      known.*,
      (a + b + x - 1) / (a - 1) * (1 - exp((r + x) * ln((alpha + age) / (alpha + age + t))) * (1 + series)) / gone as purchases,
      p * (gamma + (spent - spent_first)::float8) / (p * x + q - 1) as spend,
      1 / gone as alive
    from known
    cross join lateral (
      select case when x = 0 then 1 else 1 + a / (b + x - 1) * exp((r + x) * ln((alpha + age) / (alpha + t_x))) end as gone
    ) as left_by_now
    cross join lateral (
      select sum(exp(term)) as series
      from (
        select sum(ln((r + x + n) * (b + x + n) / ((a + b + x - 1 + n) * (n + 1)) * z)) over (order by n) as term
        from generate_series(0, ((40 + 6 * (x + 2)) / -ln(z))::int) as n
      ) as terms
    ) as hypergeometric
  ),
  scored as (
    select
      *,
      1 + 5 * (rank() over (order by last_day) - 1) / count(*) over () as recency_score,
      1 + 5 * (rank() over (order by days) - 1) / count(*) over () as frequency_score,
      1 + 5 * (rank() over (order by spent) - 1) / count(*) over () as monetary_score
    from forecast
  )
select
  customer_id, first_day as first_purchase, last_day as last_purchase, today - last_day as recency_days, days as frequency, spent as monetary,
  recency_score, frequency_score, monetary_score,
  case
    when recency_score >= 4 and frequency_score >= 4 then 'champions'
    when recency_score = 3 and frequency_score >= 4 then 'loyal'
    when recency_score <= 2 and frequency_score >= 3 then 'at risk'
    when recency_score >= 4 and frequency_score <= 2 then 'new'
    when recency_score = 1 then 'lost'
    else 'others'
  end as segment,
  round(alive::numeric, 4) as probability_alive, round(purchases::numeric, 4) as expected_purchases,
  round(spend::numeric, 4) as expected_spend, round((purchases * spend)::numeric, 4) as lifetime_value
from scored
