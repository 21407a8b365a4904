import { totalmem } from 'node:os';

const GIGABYTE = 1024 ** 3;
const MEMORY_SHARE_MAX = 0.5;
const MEMORY_BYTES_MAX = 4 * GIGABYTE;

/**
 * The server's configuration for a machine that does other things too: bounded memory and small thread pools (the
 * defaults are made for dozens of cores), a small log of warnings, and no log tables that grow.
 * `instance` is how a client can tell that it talks to this very server.
 */
export function clickHouseConfig(options: { directory: string; instance: string }): string {
  const memory = Math.floor(Math.min(totalmem() * MEMORY_SHARE_MAX, MEMORY_BYTES_MAX));
  return `<clickhouse>
  <log-level>warning</log-level>
  <logger>
    <log>${escapeXml(options.directory)}/clickhouse.log</log>
    <size>8M</size>
    <count>1</count>
  </logger>
  <macros><walhouse_instance>${escapeXml(options.instance)}</walhouse_instance></macros>
  <max_server_memory_usage>${memory}</max_server_memory_usage>
  <mark_cache_size>${GIGABYTE / 4}</mark_cache_size>
  <!-- Nobody reads these here, and each round looks at every part of every table. -->
  <asynchronous_metrics_update_period_s>60</asynchronous_metrics_update_period_s>
  <background_pool_size>4</background_pool_size>
  <background_schedule_pool_size>8</background_schedule_pool_size>
  <background_common_pool_size>2</background_common_pool_size>
  <background_fetches_pool_size>2</background_fetches_pool_size>
  <background_move_pool_size>1</background_move_pool_size>
  <merge_tree>
    <!-- By default these want more free threads than the pool above has. -->
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
</clickhouse>
`;
}

function escapeXml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
