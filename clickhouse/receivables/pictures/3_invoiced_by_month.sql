-- title: Invoiced by month: what was paid in time, and what was late
-- shows: line
-- x: month
-- y: in time, late
-- unit: amount
select * from (
  select
    formatDateTime(toStartOfMonth(invoices.date_issued), '%Y-%m') as month,
    round(sumIf(features.inv_total, features.is_late = 0), 2) as `in time`,
    round(sumIf(features.inv_total, features.is_late = 1), 2) as late
  from {database}.invoice_features as features
  inner join {database}.receivables_invoices as invoices on invoices.invoice_id = features.inv_id
  where features.is_late is not null
  group by month
  order by month desc
  limit 14
)
order by month
