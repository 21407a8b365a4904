import { sourceName, type ExaminedSource, type ExaminedTable } from './examine.js';

const LARGE_BYTES = 1024 ** 3;
const LARGE_ROWS = 10_000_000;

/**
 * The configuration of a source as YAML, with a comment for every choice. Secrets are not in it: both addresses are taken from the
 * environment.
 */
export function configText(source: ExaminedSource): string {
  const name = plainName(source.database);
  const slot = source.slotTaken ? `walhouse_${name.toLowerCase()}`.slice(0, 63) : 'walhouse';
  const followed = source.tables.filter(({ relation }) => relation !== null);
  const left = source.tables.length - followed.length;
  const lines = [
    `# Walhouse for database ${oneLine(source.database)} on ${oneLine(source.host)}, as walhouse init found it: ${count(source.tables.length, 'table')}${
      left === 0 ? '' : `, ${left} left out with the reason`
    }.`,
    '# Next: walhouse check (examines both sides, changes nothing), then walhouse run.',
    '',
    'source:',
    '  url: ${SOURCE_URL} # postgres://USER:PASSWORD@HOST:PORT/DATABASE, from the environment',
    `  slot: ${slot} # the replication slot; made by the first run, and holds WAL back while nothing reads it${
      source.slotTaken ? ' (walhouse is taken)' : ''
    }`,
    `  publication: ${slot} # used with decoder pgoutput, and kept to the tables below`,
    '  decoder: auto # wal2json where the server has it and nothing is lost by it, otherwise pgoutput',
    '',
    'sink:',
    '  url: ${CLICKHOUSE_URL} # http://USER:PASSWORD@HOST:8123, from the environment',
    `  database: ${sinkName(name)} # what people query; ${sinkName(name)}_landing and ${sinkName(name)}_audit stand behind it`,
    '',
    ...explanation(),
    'tables:',
    ...source.tables.flatMap((table) => ['', ...tableLines(table)]),
    '',
    '# masking: { key: ${WALHOUSE_MASK_KEY} } # for mask: 32 characters at least (openssl rand -hex 32), from the environment',
    '# marts: [] # folders under clickhouse/ to keep over these tables',
    '# verify: { every: 1h } # compare both sides in the background; walhouse status and /metrics show the result',
    '',
    'api:',
    '  listen: 127.0.0.1:8080 # on any other address, api.keys must be set',
  ];
  return `${lines.join('\n')}\n`;
}

function explanation(): string[] {
  return [
    '# What may stand behind a table:',
    '#   retention: { column: created_at, keep: 2 years } # rows past it are invisible at once and deleted soon after',
    '#   history: true # every change also goes to the audit database',
    '#   exclude: [note] # columns that are not copied; or only: [id, amount], the columns that are',
    `#   where: "country = 'DE'" # rows that are copied; needs FULL too where it reads more than the key`,
    '#   mask: [email] # columns of which only a keyed hash is copied; the same value has the same hash everywhere. Needs masking.key below',
    '# Retention and history need the whole old row of every change, so the table must have REPLICA IDENTITY FULL. Without them, the',
    '# replica identity that is there (DEFAULT: the primary key) is enough.',
  ];
}

function tableLines(examined: ExaminedTable): string[] {
  const { table, relation, reason } = examined;
  const key = yamlKey(table.id);
  if (relation === null) {
    return [
      `  # LEFT OUT: ${oneLine(reason?.what ?? 'it cannot be read')}`,
      `  # Fix: ${oneLine(reason?.fix ?? 'none is known')}`,
      `  # ${oneLine(key)}: {}`,
    ];
  }
  const keyColumns = relation.key.map((index) => relation.columns[index]!.name).join(', ');
  const isLarge = table.bytes >= LARGE_BYTES || (table.rows ?? 0) >= LARGE_ROWS;
  const lines = [
    `${sizeOf(examined)}; key (${oneLine(keyColumns)}); replica identity ${relation.replicaIdentity.toUpperCase()}${
      table.isPartitioned ? '; partitioned, so pgoutput decodes' : ''
    }`,
  ];
  if (isLarge) lines.push('LARGE: read in several ranges at once; walhouse status shows how far it is');
  if (table.children.length > 0) {
    lines.push(
      `Its own rows only: ${oneLine(table.children.join(', '))} inherit from it and are tables of their own`,
    );
  }
  if (examined.texts.length > 0)
    lines.push(`Arrive as Postgres's own text: ${oneLine(examined.texts.join(', '))}`);
  if (examined.personal.length > 0) {
    const names = examined.personal.map(yamlScalar).join(', ');
    lines.push(`Personal, by their names; to copy hashes alone: {mask: [${names}]}`);
  }
  const [first, ...others] = examined.dates;
  if (first !== undefined) {
    const more = others.length === 0 ? '' : ` (or by ${oneLine(others.join(', '))})`;
    lines.push(
      `To keep it for a limited time: {retention: {column: ${yamlScalar(first)}, keep: 2 years}}${more}`,
    );
  }
  if (relation.replicaIdentity !== 'full')
    lines.push(`For retention or history: ALTER TABLE ${oneLine(sourceName(table))} REPLICA IDENTITY FULL;`);
  return [...lines.map((line) => `  # ${line}`), `  ${key}: {}`];
}

function sizeOf({ table }: ExaminedTable): string {
  const rows = table.rows === null ? 'rows not counted yet' : `about ${count(Math.round(table.rows), 'row')}`;
  return `${rows}, ${bytesText(table.bytes)}`;
}

function count(number: number, what: string): string {
  return `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`;
}

export function bytesText(bytes: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let size = bytes;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(size >= 10 || unit === 0 ? 0 : 1)} ${units[unit]!}`;
}

/** A name may hold any character; a comment must end where its line ends. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
}

/** A key that reads as the same string whatever YAML makes of plain words. */
function yamlKey(id: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z0-9_.]*[A-Za-z0-9_]$/.test(id) ? id : yamlString(id);
}

/** As `yamlKey`, inside of a flow mapping, where a word such as `null` or `2024` would not be a string. */
function yamlScalar(name: string): string {
  return /^[a-z_]*_[a-z_]*$/.test(name) ? name : yamlString(name);
}

function yamlString(text: string): string {
  // JSON leaves these as they are, and YAML takes some of them for line ends.
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function plainName(database: string): string {
  const name = database.replace(/[^A-Za-z0-9_]+/g, '_').replace(/^([0-9])/, '_$1');
  return name === '' ? 'source' : name.slice(0, 50);
}

/** ClickHouse's own databases are not ours to fill. */
function sinkName(name: string): string {
  return ['default', 'system', 'information_schema'].includes(name.toLowerCase()) ? `${name}_source` : name;
}
