-- Question: from where on is a transaction not believed?
-- Grain:    one row.
-- Cost:     none: the numbers stand here, and every rule of the domain takes them from here. A file that has changed makes the
--           marts anew at the next start.
create view {database}.banking_bounds (
  amount_max Decimal(10, 5) comment 'The largest amount of one transaction',
  ahead_minutes_max UInt16 comment 'How far a date may lie ahead, since clocks differ',
  retention_years UInt8 comment 'As in the configuration, under retention of banking.transactions'
) as
select
  toDecimal64('10000', 5) as amount_max,
  toUInt16(5) as ahead_minutes_max,
  toUInt8(2) as retention_years
comment 'Bounds of what is believed of a transaction'
