import { describe, expect, it } from 'vitest';
import { WalhouseError } from '../../src/pipeline/errors.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { PgoutputDecoder } from '../../src/source/pgoutput.js';
import { CallLog, column, mutate, random, relation } from './source-messages.js';

const TABLE = relation('public', 'a', [
  column('id', 'int8', { notNull: true }),
  column('v', 'text'),
  column('g', 'int4', { generated: true }),
  column('w', 'text'),
]);

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const int64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};
const text = (value: string): Buffer => Buffer.from(`${value}\0`);
const message = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));

/** A row: a string, null, or `undefined` for an unchanged TOAST value. */
function tuple(...values: (string | null | undefined)[]): Buffer {
  const encoded = values.map((value) => {
    if (value === null) return message('n');
    if (value === undefined) return message('u');
    return message('t', int32(Buffer.byteLength(value)), value);
  });
  return message(int16(values.length), ...encoded);
}

function described(table: Relation, columns = ['id', 'v', 'w'], oid = table.oid, name = table.name): Buffer {
  const list = columns.map((each) =>
    message(Buffer.from([each === 'id' ? 1 : 0]), text(each), int32(20), int32(0)),
  );
  return message('R', int32(oid), text(table.schema), text(name), 'd', int16(columns.length), ...list);
}

const OID = int32(TABLE.oid);
const BEGIN = message('B', int64(0x10n), int64(1_000_000n), int32(7));
const COMMIT = message('C', Buffer.from([0]), int64(0x10n), int64(0x40n), int64(1_000_000n));
const INSERT = message('I', OID, 'N', tuple('1', 'é', null));

function decode(...messages: Buffer[]): object[] {
  const log = new CallLog();
  const decoder = new PgoutputDecoder([TABLE], log);
  for (const each of messages) decoder.decode(Buffer.from(each));
  return log.calls;
}

describe('the pgoutput decoder', () => {
  it('reads a transaction', () => {
    expect(decode(BEGIN, described(TABLE), INSERT, COMMIT)).toEqual([
      { call: 'begin', commitLsn: 0x10n, committedAtUs: 946_684_801_000_000n, xid: 7 },
      { call: 'insert', table: 'public.a', row: { id: '1', v: 'é', w: null } },
      { call: 'commit', commitLsn: 0x10n, endLsn: 0x40n },
    ]);
  });

  it('takes a key that was not sent again from the old key', () => {
    const update = message('U', OID, 'K', tuple('long', null, null), 'N', tuple(undefined, 'x', undefined));
    expect(decode(BEGIN, described(TABLE), update)[1]).toEqual({
      call: 'update',
      table: 'public.a',
      old: null,
      row: { id: 'long', v: 'x' },
    });
  });

  it('reads generated columns where the server publishes them', () => {
    const whole = described(TABLE, ['id', 'v', 'g', 'w']);
    const insert = message('I', OID, 'N', tuple('1', 'x', '2', 'y'));
    expect(decode(BEGIN, whole, insert)[1]).toMatchObject({ row: { id: '1', v: 'x', g: '2', w: 'y' } });
  });

  it('skips types, origins, messages and tables that are not configured', () => {
    const other = relation('public', 'other', []);
    expect(
      decode(
        BEGIN,
        message('Y', int32(1), text('public'), text('t')),
        message('O', int64(1n), text('elsewhere')),
        message('M', Buffer.from([0]), int64(1n), text('walhouse'), int32(0)),
        described(other, ['x'], 99),
        message('I', int32(99), 'N', tuple('1')),
        COMMIT,
      ),
    ).toEqual([]);
  });

  it.each([
    ['a new column', described(TABLE, ['id', 'v', 'w', 'z']), 'schema_changed'],
    ['a column that is gone', described(TABLE, ['id', 'v']), 'schema_changed'],
    ['columns in another order', described(TABLE, ['id', 'w', 'v']), 'schema_changed'],
    ['a renamed table', described(TABLE, ['id', 'v', 'w'], TABLE.oid, 'b'), 'schema_changed'],
    ['a table that was made again', described(TABLE, ['id', 'v', 'w'], 1), 'schema_changed'],
    ['an undescribed table', message('I', int32(5), 'N', tuple('1')), 'decode_failed'],
    ['another number of columns', message('I', OID, 'N', tuple('1')), 'decode_failed'],
    [
      'a value longer than its message',
      message('I', OID, 'N', int16(3), 't', int32(2 ** 31 - 1)),
      'decode_failed',
    ],
    ['a negative length', message('I', OID, 'N', int16(3), 't', int32(2 ** 32 - 1)), 'decode_failed'],
    ['a binary value', message('I', OID, 'N', int16(3), 'b', int32(0)), 'decode_failed'],
    ['too many truncated tables', message('T', int32(2 ** 31), Buffer.from([0]), OID), 'decode_failed'],
    ['an unknown message', message('?'), 'decode_failed'],
    ['a transaction inside another', BEGIN, 'decode_failed'],
    ['nothing', Buffer.alloc(0), 'decode_failed'],
  ])('refuses %s', (_, bad, kind) => {
    expect(() => decode(BEGIN, described(TABLE), bad)).toThrowError(
      expect.objectContaining({ kind }) as Error,
    );
  });

  it('answers random damage with calls or a typed error', () => {
    const seed = 20_261_121;
    const next = random(seed);
    const messages = [
      INSERT,
      message('U', OID, 'O', tuple('1', 'x', null), 'N', tuple('2', undefined, 'y')),
      message('D', OID, 'K', tuple('1', null, null)),
      message('T', int32(1), Buffer.from([0]), OID),
      described(TABLE),
      COMMIT,
    ];
    for (let round = 0; round < 20_000; round += 1) {
      const decoder = new PgoutputDecoder([TABLE], new CallLog());
      decoder.decode(BEGIN);
      decoder.decode(described(TABLE));
      try {
        decoder.decode(mutate(messages[round % messages.length]!, next));
        decoder.decode(Buffer.from(INSERT));
      } catch (error) {
        if (!(error instanceof WalhouseError))
          throw new Error(`seed ${seed}, round ${round}`, { cause: error });
      }
    }
  });
});
