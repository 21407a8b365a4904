import { WalhouseError } from '../../src/pipeline/errors.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { PgoutputDecoder } from '../../src/source/pgoutput.js';
import { Wal2jsonDecoder } from '../../src/source/wal2json.js';
import type { Decoder } from '../../src/source/decoder.js';
import { CallLog, column, mutate, random, relation } from '../unit/source-messages.js';

/** A stream of messages that a decoder must survive, whatever is done to one of them. */
interface Corpus {
  readonly name: 'pgoutput' | 'wal2json';
  open(log: CallLog): Decoder;
  /** What comes before a damaged message: a transaction that is open and a table that is known. */
  readonly before: readonly Buffer[];
  readonly messages: readonly Buffer[];
}

const TABLE: Relation = relation('public', 'a', [
  column('id', 'int8', { notNull: true }),
  column('Co "l"', 'text'),
  column('n', 'numeric'),
  column('b', 'bytea'),
  column('f', 'float8', { notNull: true }),
]);
const NAMES = TABLE.columns.map(({ name }) => name);

function int(bytes: 1 | 2 | 4, value: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

function long(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(value);
  return buffer;
}

function message(...parts: (string | Buffer)[]): Buffer {
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

/** A row as pgoutput sends it; undefined is an unchanged value that was not sent. */
function row(...values: (string | null | undefined)[]): Buffer {
  const parts = values.map((value) =>
    value === null ? 'n' : value === undefined ? 'u' : message('t', int(4, value.length), value),
  );
  return message(int(2, values.length), ...parts);
}

const OID = int(4, TABLE.oid);
const WHOLE = row('1', 'x\ty', '120.50', '\\x00ff', '0.5');

const PGOUTPUT: Corpus = {
  name: 'pgoutput',
  open: (log) => new PgoutputDecoder([TABLE], log),
  before: [
    message('B', long(0x10n), long(1n), int(4, 7)),
    message(
      'R',
      OID,
      'public\0a\0d',
      int(2, NAMES.length),
      ...NAMES.map((name, i) => message(int(1, i === 0 ? 1 : 0), `${name}\0`, int(4, 25), int(4, 0))),
    ),
  ],
  messages: [
    message('I', OID, 'N', WHOLE),
    message('U', OID, 'N', row('1', undefined, null, undefined, '1')),
    message('U', OID, 'O', WHOLE, 'N', row('2', undefined, '1', null, 'NaN')),
    message('U', OID, 'K', row('1', null, null, null, null), 'N', WHOLE),
    message('D', OID, 'K', row('1', null, null, null, null)),
    message('D', OID, 'O', WHOLE),
    message('T', int(4, 1), int(1, 0), OID),
    message('Y', int(4, 1), 'public\0t\0'),
    message('O', long(1n), 'elsewhere\0'),
    message('M', int(1, 0), long(1n), 'walhouse\0', int(4, 0)),
    message('C', int(1, 0), long(0x10n), long(0x40n), long(1n)),
  ],
};

const HEAD = '"xid":7,"timestamp":"2026-11-21 09:23:03.144916+00"';
const ENDS = `${HEAD},"lsn":"0/10","nextlsn":"0/40"`;
const VALUES = `{"name":"id","value":1},{"name":"Co \\"l\\"","value":"x\\ty \\u00e9\\ud83d\\ude00"},{"name":"n","value":-1.5e+3},{"name":"b","value":"00ff"},{"name":"f","value":null}`;
const change = (action: string, rest: string): Buffer =>
  Buffer.from(`{"action":"${action}",${HEAD},"lsn":"0/8","schema":"public","table":"a"${rest}}`);

const WAL2JSON: Corpus = {
  name: 'wal2json',
  open: (log) => new Wal2jsonDecoder([TABLE], log),
  before: [Buffer.from(`{"action":"B",${ENDS}}`)],
  messages: [
    change('I', `,"columns":[${VALUES}]`),
    change('U', `,"columns":[${VALUES}],"identity":[{"name":"id","value":1}]`),
    change('U', `,"columns":[{"name":"f","value":0.5},{"name":"id","value":2}],"identity":[${VALUES}]`),
    change('D', `,"identity":[${VALUES}]`),
    change('T', ''),
    Buffer.from(
      `{"action":"M","xid":null,"timestamp":null,"lsn":"0/1","transactional":false,"prefix":"p","content":"\\u0000"}`,
    ),
    Buffer.from(`{"action":"C",${ENDS}}`),
  ],
};

export const CORPORA: readonly Corpus[] = [PGOUTPUT, WAL2JSON];

export interface FuzzResult {
  readonly rounds: number;
  /** Rounds that ended in a typed error; the others gave calls. */
  readonly refused: number;
  readonly longestMs: number;
}

/** One damaged message may take no longer, on a machine however busy. */
const ROUND_MS_MAX = 2_000;

/**
 * Damages one message a round and reads it, and whole ones after it. Throws, with the seed and the round, for anything but calls and
 * typed errors, for a value outside of its message's bytes, and for a round that takes long.
 */
export function fuzzDecoder(corpus: Corpus, seed: number, rounds: number): FuzzResult {
  const next = random(seed);
  let refused = 0;
  let longestMs = 0;
  for (let round = 0; round < rounds; round += 1) {
    const log = new CallLog();
    const decoder = corpus.open(log);
    const startedAt = performance.now();
    try {
      // A decoder takes the bytes over.
      for (const whole of corpus.before) decoder.decode(Buffer.from(whole));
      // At times what comes before is damaged: the table's description, a begin.
      const source = next(8) === 0 ? corpus.before : corpus.messages;
      decoder.decode(mutate(source[next(source.length)]!, next));
      decoder.decode(Buffer.from(corpus.messages[next(corpus.messages.length)]!));
    } catch (error) {
      if (!(error instanceof WalhouseError))
        throw new Error(`${corpus.name}, seed ${seed}, round ${round}`, { cause: error });
      refused += 1;
    }
    const tookMs = performance.now() - startedAt;
    if (tookMs > ROUND_MS_MAX)
      throw new Error(`${corpus.name}, seed ${seed}, round ${round} took ${tookMs.toFixed(0)} ms`);
    longestMs = Math.max(longestMs, tookMs);
  }
  return { rounds, refused, longestMs };
}
