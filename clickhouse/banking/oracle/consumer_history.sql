select consumer_id, execution_date, id, amount, creation_date, label, country_code, bank_id, merchant_id
from banking.transactions
where consumer_id is not null and (execution_date is null or execution_date > now() - interval '2 years')
