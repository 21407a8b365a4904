alter table {database}.payments_7d
  comment column merchant_id 'Who was paid',
  comment column payment_date 'When; the window is about this',
  comment column payment_id 'Which payment',
  comment column _version 'Commit position times 10^12 plus the step inside the transaction',
  comment column _is_deleted '1: from this version on the payment is not under this merchant and date',
  comment column method 'How it was paid; null where the source has null',
  comment column is_rejected '1: the status of this version is Rejected',
  comment column amount 'The amount of this version; 0 where the source has null'
