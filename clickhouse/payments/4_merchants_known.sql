-- Question: did a merchant exist at a WAL position?
-- Grain:    one row per version of a merchant; tombstones are versions too.
-- Cost:     one row a change of a merchant, a few bytes each, for ever.
--
-- tracks: public.merchants (merchant_id)
-- needs: public.merchants (merchant_id Int)
create table {database}.merchants_known (
  merchant_id Int64 comment 'The merchant',
  _version UInt128 comment 'Commit position times 10^12 plus the step inside the transaction',
  _is_deleted UInt8 comment '1: from this version on there is no such merchant'
) engine = ReplacingMergeTree
order by (merchant_id, _version)
settings fsync_after_insert = 1, fsync_part_directory = 1, old_parts_lifetime = 120, index_granularity = 1024
comment 'Which merchants existed when'
