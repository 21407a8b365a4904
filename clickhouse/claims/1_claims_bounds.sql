-- Question: from where on is an amount not believed, and which currency is the programs' own?
-- Grain:    one row.
-- Cost:     none: constants. To change a bound, change it here; every claim is judged anew at once.
--
-- 1,000,000 shillings: ten times the largest bill of a hospital stay, and below what slips of the keyboard make of one.
create view {database}.claims_bounds (
  home_currency String comment 'Amounts in any other currency are flagged and in no sum',
  absurd_amount Decimal(19, 4) comment 'Amounts above this one are flagged and in no sum'
) as
select
  'KES' as home_currency,
  toDecimal128('1000000', 4) as absurd_amount
comment 'The bounds by which claims are judged'
