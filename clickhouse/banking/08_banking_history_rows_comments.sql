alter table {database}.banking_history_rows
  comment column consumer_id 'Who pays',
  comment column execution_date 'When it was carried out; null where the source has null',
  comment column id 'The transaction',
  comment column amount 'As it was reported',
  comment column creation_date 'When it was entered',
  comment column label 'What the bank writes on the statement',
  comment column country_code 'Where it was made',
  comment column bank_id 'Through which bank',
  comment column merchant_id 'Who is paid; null where it is no merchant',
  comment column _version 'Commit position times 10^12 plus the step inside the transaction',
  comment column _is_deleted '1: this row hides every older version under its sort key'
