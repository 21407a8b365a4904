-- Question: how do customers in general buy and spend, and how far does the forecast look?
-- Grain:    one row.
-- Cost:     none: constants. To use another estimate, change it here; every forecast is another at once.
--
-- r, alpha, a and b are of the BG/NBD model, p, q and gamma of the gamma-gamma model (customer_value has the sources); time is in
-- weeks. These are the ones by which the demo's customers are made. For customers of your own, estimate them from `frequency`,
-- recency and age in customer_value: the authors' notes do it in Excel, and any package for these models (BTYD, lifetimes,
-- PyMC-Marketing) does it. What is needed of them: all above 0, a below 2 and not exactly 1, q above 1, a + b above 1 and above r.
create view {database}.spending_value_parameters (
  r Float64 comment 'Shape of the distribution of buying rates',
  alpha Float64 comment 'Rate of the distribution of buying rates, in weeks',
  a Float64 comment 'First parameter of the distribution of the chance to leave after a purchase',
  b Float64 comment 'Second parameter of it',
  p Float64 comment 'Shape of a customer’s spend on a day',
  q Float64 comment 'Shape of the distribution of its rate among customers',
  gamma Float64 comment 'Rate of that distribution',
  horizon_weeks Float64 comment 'How far the forecast looks'
) as
select
  toFloat64(1.2) as r,
  toFloat64(5) as alpha,
  toFloat64(0.7) as a,
  toFloat64(3.5) as b,
  toFloat64(6) as p,
  toFloat64(4) as q,
  toFloat64(25) as gamma,
  toFloat64(52) as horizon_weeks
comment 'Parameters of the lifetime value forecast'
