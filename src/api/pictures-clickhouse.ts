import type { ClickHouseClient } from '@clickhouse/client';
import type { DomainPage } from '../ops/pictures.js';
import { quoteName } from '../sink/identifier.js';
import { inTrace } from '../sink/in-trace.js';
import { sinkProblem } from './clickhouse-failure.js';
import type { PictureAnswer, Pictures } from './routes-domains.js';

/** In seconds. */
const TIME_MAX = 10;
const ROWS_MAX = 1_000;

/** Asks the marts in `database` what the pages show. */
export function clickHousePictures(
  client: ClickHouseClient,
  database: string,
  pages: readonly DomainPage[],
): Pictures {
  return {
    pages,
    async ask(picture, signal, span): Promise<PictureAnswer> {
      const part = span?.child('query picture', { request: true });
      try {
        const result = await client.query({
          query: picture.sql.replaceAll('{database}', quoteName(database)),
          format: 'JSONCompact',
          abort_signal: signal,
          ...inTrace(part),
          clickhouse_settings: {
            output_format_json_quote_64bit_integers: 1,
            output_format_json_quote_decimals: 1,
            output_format_json_quote_64bit_floats: 1,
            output_format_decimal_trailing_zeros: 1,
            max_execution_time: TIME_MAX,
            max_result_rows: String(ROWS_MAX),
            result_overflow_mode: 'break',
          },
        });
        const { meta = [], data } = await result.json<unknown[]>();
        part?.end();
        return { columns: meta, rows: data.slice(0, ROWS_MAX) };
      } catch (error) {
        part?.end(signal.aborted ? 'aborted' : 'failed');
        throw sinkProblem(error);
      }
    },
  };
}
