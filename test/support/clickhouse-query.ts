/** Runs a statement over HTTP. Throws with the server's own words. */
export async function clickhouseQuery<Row>(url: string, sql: string): Promise<Row[]> {
  const response = await fetch(
    `${url}/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=1&wait_end_of_query=1&output_format_parallel_formatting=0&max_threads=1`,
    { method: 'POST', body: sql },
  );
  const text = await response.text();
  if (!response.ok) throw new Error(`${text.trim()} in: ${sql}`);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Row);
}
