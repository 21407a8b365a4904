import { describe, expect, it } from 'vitest';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { Wal2jsonDecoder } from '../../src/source/wal2json.js';
import { CallLog, column, mutate, random, relation } from './source-messages.js';

const TABLE = relation('public', 'a', [
  column('id', 'int8', { notNull: true }),
  column('Co "l"', 'text'),
  column('n', 'numeric'),
  column('b', 'bytea'),
  column('f', 'float8', { notNull: true }),
]);
const HEAD = '"xid":7,"timestamp":"2026-11-21 09:23:03.144916+00"';
const BEGIN = `{"action":"B",${HEAD},"lsn":"0/10","nextlsn":"0/40"}`;
const COMMIT = `{"action":"C",${HEAD},"lsn":"0/10","nextlsn":"0/40"}`;
const row = (action: string, rest: string): string =>
  `{"action":"${action}",${HEAD},"lsn":"0/8","schema":"public","table":"a",${rest}}`;
const columns = (values: string): string => `"columns":[${values}]`;
const WHOLE = `{"name":"id","value":1},{"name":"Co \\"l\\"","value":"x"},{"name":"n","value":null},{"name":"b","value":"00ff"},{"name":"f","value":0.5}`;
const INSERT = row('I', columns(WHOLE));

function decode(...messages: string[]): CallLog {
  const log = new CallLog();
  const decoder = new Wal2jsonDecoder([TABLE], log);
  for (const message of messages) decoder.decode(Buffer.from(message));
  return log;
}

const insertOf = (value: string): string =>
  row('I', columns(WHOLE.replace('"value":"x"', `"value":${value}`)));
const textOf = (value: string): string | null | undefined => {
  const [, insert] = decode(BEGIN, insertOf(value)).calls;
  return (insert as { row: Record<string, string | null> }).row['Co "l"'];
};

describe('the wal2json decoder', () => {
  it('reads a transaction', () => {
    expect(decode(BEGIN, INSERT, COMMIT).calls).toEqual([
      { call: 'begin', commitLsn: 0x10n, committedAtUs: 1795252983144916n, xid: 7 },
      { call: 'insert', table: 'public.a', row: { id: '1', 'Co "l"': 'x', n: null, b: '\\x00ff', f: '0.5' } },
      { call: 'commit', commitLsn: 0x10n, endLsn: 0x40n },
    ]);
  });

  it.each([
    ['"a\\tb\\nc\\rd\\be\\ff\\"g\\\\h\\/i"', 'a\tb\nc\rd\be\ff"g\\h/i'],
    ['"\\u0001\\u00e9\\u20ac\\ud83d\\ude00|"', '\u0001é€😀|'],
    ['"é€😀\\n"', 'é€😀\n'],
    ['""', ''],
    ['null', null],
    ['true', 't'],
    ['false', 'f'],
    ['-12.50e+3', '-12.50e+3'],
  ])('reads the value %s', (json, text) => expect(textOf(json)).toBe(text));

  it('reads columns in any order, and leaves out what was not sent', () => {
    const identity = `"identity":[{"name":"id","value":1}]`;
    const { calls } = decode(
      BEGIN,
      row('U', `${columns('{"name":"f","value":1},{"name":"id","value":1}')},${identity}`),
    );
    expect(calls[1]).toEqual({ call: 'update', table: 'public.a', old: null, row: { id: '1', f: '1' } });
  });

  it('marks a null that can only have been NaN or an infinity as no number', () => {
    const [, insert] = decode(BEGIN, INSERT.replace('0.5', 'null')).calls;
    expect(insert).toMatchObject({ row: { f: 'null', n: null } });
  });

  it('skips tables that are not configured, and messages', () => {
    const other = INSERT.replace('"table":"a"', '"table":"a2"');
    const message = `{"action":"M","xid":null,"timestamp":null,"lsn":"0/1","transactional":false,"prefix":"p","content":""}`;
    expect(decode(message, BEGIN, other, message, COMMIT).calls).toEqual([]);
  });

  it.each([
    ['an unknown column', row('I', columns(WHOLE.replace('"name":"n"', '"name":"new"'))), 'schema_changed'],
    ['a column that is gone', row('I', columns('{"name":"id","value":1}')), 'schema_changed'],
    ['an old row without its key', row('D', '"identity":[{"name":"n","value":1}]'), 'table_no_identity'],
    ['an unknown action', INSERT.replace('"I"', '"X"'), 'decode_failed'],
    ['a column twice', row('I', columns(`${WHOLE},{"name":"id","value":1}`)), 'decode_failed'],
    ['a lone surrogate', insertOf('"\\ud83d"'), 'decode_failed'],
    ['a broken escape', insertOf('"\\u00g1"'), 'decode_failed'],
    ['an unknown escape', insertOf('"\\q"'), 'decode_failed'],
    ['an object as value', insertOf('{}'), 'decode_failed'],
    ['bytes behind the end', `${INSERT} `, 'decode_failed'],
    ['no table', `{"action":"I",${HEAD},"lsn":"0/8"}`, 'decode_failed'],
    ['a commit of another transaction', COMMIT.replace('0/10', '0/18'), 'decode_failed'],
    ['a transaction inside another', BEGIN, 'decode_failed'],
    ['nothing', '', 'decode_failed'],
  ])('refuses %s', (_, message, kind) => {
    expect(() => decode(BEGIN, message)).toThrowError(expect.objectContaining({ kind }) as Error);
  });

  it('refuses a change outside a transaction', () => {
    expect(() => decode(INSERT)).toThrowError(expect.objectContaining({ kind: 'decode_failed' }) as Error);
  });

  it('refuses a message cut off anywhere', () => {
    for (const message of [BEGIN, INSERT, COMMIT]) {
      for (let length = 0; length < message.length; length += 1) {
        const before = message === BEGIN ? [] : [BEGIN];
        expect(() => decode(...before, message.slice(0, length)), message.slice(0, length)).toThrowError(
          WalhouseError,
        );
      }
    }
  });

  it('answers random damage with calls or a typed error', () => {
    const seed = 20_261_121;
    const next = random(seed);
    const update = row(
      'U',
      `${columns(WHOLE)},"identity":[{"name":"id","value":1},{"name":"Co \\"l\\"","value":"\\u00e9\\ud83d\\ude00"}]`,
    );
    const truncate = `{"action":"T",${HEAD},"lsn":"0/8","schema":"public","table":"a"}`;
    for (let round = 0; round < 20_000; round += 1) {
      const decoder = new Wal2jsonDecoder([TABLE], new CallLog());
      decoder.decode(Buffer.from(BEGIN));
      const messages = [INSERT, update, truncate, COMMIT];
      try {
        decoder.decode(mutate(Buffer.from(messages[round % messages.length]!), next));
        decoder.decode(Buffer.from(INSERT));
      } catch (error) {
        if (!(error instanceof WalhouseError))
          throw new Error(`seed ${seed}, round ${round}`, { cause: error });
      }
    }
  });
});
