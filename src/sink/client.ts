import {
  ClickHouseLogLevel,
  createClient,
  type ClickHouseClient,
  type ClickHouseSettings,
} from '@clickhouse/client';
import { wiringOf, type SinkServer } from './tls.js';

/**
 * Every setting that decides what arrives or what a query means, whatever the server's or the user's profile says.
 */
export const PINNED_SETTINGS: ClickHouseSettings = {
  // An insert's answer means that its rows are stored.
  async_insert: 0,
  wait_end_of_query: 1,
  // What does not fit is an error and never something else.
  input_format_allow_errors_num: '0',
  input_format_allow_errors_ratio: 0,
  input_format_null_as_default: 0,
  insert_null_as_default: 0,
  input_format_skip_unknown_fields: 0,
  input_format_tsv_empty_as_default: 0,
  // Fills `_synced_at`, which no insert names.
  input_format_defaults_for_omitted_fields: 1,
  // Text means the same whoever reads it.
  date_time_input_format: 'basic',
  date_time_output_format: 'simple',
  date_time_overflow_behavior: 'throw',
  precise_float_parsing: 1,
  session_timezone: 'UTC',
  output_format_decimal_trailing_zeros: 0,
  bool_true_representation: 'true',
  bool_false_representation: 'false',
  // A batch becomes one block, so that one table's part of it appears at once.
  max_insert_block_size: '100000000',
  min_insert_block_size_rows: '100000000',
  min_insert_block_size_bytes: '4000000000',
  // A snapshot of many years may touch many partitions at once.
  max_partitions_per_insert_block: '0',
  // A mart that fails must fail the insert.
  materialized_views_ignore_errors: 0,
  parallel_view_processing: 0,
  // Two equal blocks may be two different events; sameness is decided by versions.
  insert_deduplicate: 0,
  // Views and marts are asked as they were written.
  do_not_merge_across_partitions_select_final: 0,
  final: 0,
  join_use_nulls: 0,
  transform_null_in: 0,
  least_greatest_legacy_null_behavior: 0,
};

/** No request may take longer: a truncate or a mart's backfill over a very large table. */
export const LONGEST_MS = 6 * 3_600_000;

export interface SinkClientOptions {
  readonly username?: string;
  readonly password?: string;
  readonly connectionsMax?: number;
  /** ClickHouse itself refuses every statement that would change something. */
  readonly readOnly?: boolean;
}

const CONNECTIONS_MAX = 8;

/** The one way to a client for the sink; the database is always named in full. Throws `config_invalid` where TLS is not as it must be. */
export function createSinkClient(server: SinkServer, options: SinkClientOptions = {}): ClickHouseClient {
  const connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
  return createClient({
    url: server.url,
    ...wiringOf(server, connectionsMax),
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
    application: 'walhouse',
    // Each request brings its own deadline; this one only bounds the longest.
    request_timeout: LONGEST_MS,
    max_open_connections: connectionsMax,
    compression: { request: false, response: false },
    // At 2 a request may still bring settings of its own.
    clickhouse_settings: options.readOnly === true ? { ...PINNED_SETTINGS, readonly: '2' } : PINNED_SETTINGS,
    // Its log would quote statements and rows; failures reach us as errors.
    log: { level: ClickHouseLogLevel.OFF },
  });
}
