-- Question: who are our customers by recency, frequency and money, and what will each be worth?
-- Grain:    one row per customer with a purchase that counts.
-- Cost:     a view: that of spending_counted, and some dozen terms of a series for each customer.
--
-- What counts: transactions of type purchase with an amount above 0 that are neither declined nor reversed nor dated beyond now. Days are
-- in UTC, and purchases of one day are one.
--
-- SEGMENTS. Scores from 1 to 5 after Hughes, "Strategic Database Marketing" (1994): customers in fifths by each of recency, frequency and
-- monetary value, 5 being the best; score = 1 + floor(5 * (rank from below - 1) / customers), so equals have equal scores. Then the
-- first that holds: champions (R and F at least 4), loyal (F at least 4 and R 3), at risk (F at least 3 and R at most 2),
-- new (R at least 4 and F at most 2), lost (R 1), others.
--
-- LIFETIME VALUE: what the customer will spend within the horizon (spending_value_parameters: 52 weeks), not discounted, as expected
-- purchases times expected spend on a day of purchase.
--
-- Purchases by the BG/NBD model: Fader, Hardie and Lee, "Counting Your Customers the Easy Way: An Alternative to the Pareto/NBD
-- Model", Marketing Science 24 (2005) 275-284, the conditional expectation; worked out in their note "Implementing the BG/NBD Model for Customer Base
-- Analysis in Excel" (brucehardie.com/notes/004). With x repeat purchases (days after the first), the last of them t_x weeks after the
-- first purchase, which was T weeks ago:
--
--   E(Y(t)) = (a+b+x-1)/(a-1) * [1 - ((alpha+T)/(alpha+T+t))^(r+x) * 2F1(r+x, b+x; a+b+x-1; t/(alpha+T+t))]
--             / [1 + (x > 0) * a/(b+x-1) * ((alpha+T)/(alpha+t_x))^(r+x)]
--
-- Their example (r .243, alpha 4.414, a .793, b 2.426; x 2, t_x 30.43, T 38.86, t 39) comes to 1.226. Here, by Euler's transformation of
-- 2F1, the power and the series together are (1-z)^(a-1) * 2F1(a+b-1-r, a-1; a+b+x-1; z) with z = t/(alpha+T+t): the same number, by
-- a series that converges quickly and cannot overflow for customers who buy every day.
--
-- Spend by the gamma-gamma model: Fader and Hardie, "The Gamma-Gamma Model of Monetary Value" (2013, brucehardie.com/notes/025), the
-- conditional expectation. With m the mean spend on the x repeat days:  E(M) = p * (gamma + m * x) / (p * x + q - 1).
-- Their first customer (p 6.25, q 3.74, gamma 15.44; x 2, m 22.35) comes to 24.65 (24.66 with parameters rounded so).
--
-- Forecasts are rounded to 4 digits, so that they can be compared.
--
-- tracks: spending.transactions ()
create view {database}.customer_value (
  customer_id Int64 comment 'The customer',
  first_purchase Date32 comment 'Day of the first purchase, in UTC',
  last_purchase Date32 comment 'Day of the last purchase, in UTC',
  recency_days Int64 comment 'Days from the last purchase to today',
  frequency UInt64 comment 'Days with a purchase',
  monetary Decimal(38, 4) comment 'Sum of all purchases',
  recency_score UInt64 comment '1 to 5 by fifths; 5: bought lately',
  frequency_score UInt64 comment '1 to 5 by fifths; 5: buys often',
  monetary_score UInt64 comment '1 to 5 by fifths; 5: spends much',
  segment String comment 'champions, loyal, at risk, new, lost or others',
  probability_alive Decimal(18, 4) comment 'How likely it is that the customer will ever buy again, by the BG/NBD model',
  expected_purchases Decimal(18, 4) comment 'Expected days with a purchase within the horizon, by the BG/NBD model',
  expected_spend Decimal(18, 4) comment 'Expected spend on such a day, by the gamma-gamma model',
  lifetime_value Decimal(18, 4) comment 'What the customer is expected to spend within the horizon: the one times the other, not discounted'
) as
select
  customer_id,
  first_day as first_purchase,
  last_day as last_purchase,
  dateDiff('day', last_day, today) as recency_days,
  days as frequency,
  spent as monetary,
  1 + intDiv(5 * (rank() over (order by last_day) - 1), count() over ()) as recency_score,
  1 + intDiv(5 * (rank() over (order by days) - 1), count() over ()) as frequency_score,
  1 + intDiv(5 * (rank() over (order by spent) - 1), count() over ()) as monetary_score,
  multiIf(
    recency_score >= 4 and frequency_score >= 4, 'champions',
    recency_score = 3 and frequency_score >= 4, 'loyal',
    recency_score <= 2 and frequency_score >= 3, 'at risk',
    recency_score >= 4 and frequency_score <= 2, 'new',
    recency_score = 1, 'lost',
    'others'
  ) as segment,
  toDecimal64(toInt64(round(1 / gone * 10000)), 0) * toDecimal64('0.0001', 4) as probability_alive,
  toDecimal64(toInt64(round(purchases * 10000)), 0) * toDecimal64('0.0001', 4) as expected_purchases,
  toDecimal64(toInt64(round(spend * 10000)), 0) * toDecimal64('0.0001', 4) as expected_spend,
  toDecimal64(toInt64(round(purchases * spend * 10000)), 0) * toDecimal64('0.0001', 4) as lifetime_value
from (
  select
    *,
    days - 1 as x,
    dateDiff('day', first_day, last_day) / 7 as t_x,
    dateDiff('day', first_day, today) / 7 as age,
    horizon_weeks / (alpha + age + horizon_weeks) as z,
    a + b + x - 1 as c,
    -- Each is below z times the one before (while a is below 2): so many leave out less than 10^-12.
    toUInt32(least(2000, 2 + ceil(-28 / log(z)))) as terms,
    -- The terms after the first, but for the sign and size of a factor that they all share; with it none is negative.
    (a + b - 1 - r) * (a - 1) / c * z * (1 + arraySum(arrayMap(
      l -> exp(l),
      arrayCumSum(arrayMap(n -> log((a + b - 1 - r + n) * (a - 1 + n) / ((c + n) * (n + 1)) * z), range(1, terms)))
    ))) as series,
    1 + if(x = 0, 0, a / (b + x - 1) * pow((alpha + age) / (alpha + t_x), r + x)) as gone,
    c / (a - 1) * (1 - pow(1 - z, a - 1) * (1 + series)) / gone as purchases,
    p * (gamma + toFloat64(spent - spent_first)) / (p * x + q - 1) as spend
  from (
    select
      customer_id,
      min(day) as first_day,
      max(day) as last_day,
      count() as days,
      sum(day_spent) as spent,
      argMin(day_spent, day) as spent_first
    from (
      select customer_id, toDate32(transaction_date) as day, sum(transaction_amount) as day_spent
      from {database}.spending_counted
      where counts = 1 and transaction_type = 'purchase' and transaction_amount > 0 and transaction_date <= now64(6, 'UTC')
      group by customer_id, day
    ) as by_day
    group by customer_id
  ) as customers
  cross join (select *, toDate32(now('UTC')) as today from {database}.spending_value_parameters) as parameters
) as forecast
comment 'Customers by recency, frequency and money, with a forecast of what they will spend'
