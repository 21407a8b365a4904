/** One picture of a domain's page: a question to the marts, and how its answer is drawn. */
export interface Picture {
  /** The file's name without its number and ending. */
  readonly id: string;
  readonly title: string;
  readonly shows: 'bar' | 'line' | 'table';
  /** The column that names each row, for a bar or a line. */
  readonly x: string | null;
  /** The columns that are drawn, each a number. */
  readonly y: readonly string[];
  /** What the numbers count. */
  readonly unit: string | null;
  /** With `{database}` in it. */
  readonly sql: string;
}

/** What people look at of one domain. */
export interface DomainPage {
  readonly name: string;
  readonly title: string;
  readonly question: string;
  readonly pictures: readonly Picture[];
}

const FIELD = /^--\s*(title|shows|x|y|unit):\s*(.+?)\s*$/gm;

/**
 * Reads a picture from its file: `-- title:`, `-- shows: bar` (or `line`, `table`), `-- x:`, `-- y: a, b` and `-- unit:` stand above the
 * question.
 * @throws Error for a file that is not so
 */
export function parsePicture(file: string, sql: string): Picture {
  const fields = new Map([...sql.matchAll(FIELD)].map(([, name, value]) => [name!, value!]));
  const title = fields.get('title');
  const shows = fields.get('shows');
  if (title === undefined) throw new Error(`${file} has no "-- title:" line`);
  if (shows !== 'bar' && shows !== 'line' && shows !== 'table')
    throw new Error(`${file} has no "-- shows:" line with bar, line or table`);
  const x = fields.get('x') ?? null;
  const y = (fields.get('y') ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (shows !== 'table' && (x === null || y.length === 0))
    throw new Error(`${file} shows a ${shows} and needs "-- x:" and "-- y:" lines`);
  const id = file.replace(/^\d+_/, '').replace(/\.sql$/, '');
  return { id, title, shows, x, y, unit: fields.get('unit') ?? null, sql };
}
