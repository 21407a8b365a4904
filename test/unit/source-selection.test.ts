import { describe, expect, it } from 'vitest';
import type { Relation, WhereColumn } from '../../src/pipeline/relation.js';
import { PgoutputDecoder } from '../../src/source/pgoutput.js';
import { decoderFilters } from '../../src/source/row-filter.js';
import { Wal2jsonDecoder } from '../../src/source/wal2json.js';
import { CallLog, column, relation } from './source-messages.js';

type Values = Readonly<Record<string, string | null>>;

/** As the table is. */
const NAMES = ['secret', 'id', 'country', 'v', 'big'];
const COUNTRY: WhereColumn = { ...column('country', 'text'), foreign: true, fuzzy: false };
const COPIED = [column('id', 'int8', { notNull: true }), column('v', 'text'), column('big', 'text')];
const SELECTION = {
  names: NAMES,
  virtual: [],
  closed: false,
  where: "(country = 'DE'::text)",
  whereColumns: [COUNTRY],
};
const FULL: Relation = { ...relation('public', 'a', COPIED, 'full'), selection: SELECTION };
const KEYED: Relation = {
  ...relation('public', 'a', COPIED),
  selection: {
    ...SELECTION,
    where: '(id > 10)',
    whereColumns: [{ ...COPIED[0]!, foreign: true, fuzzy: false }],
  },
};
const LISTED: Relation = {
  ...relation('public', 'a', COPIED, 'full'),
  selection: { names: ['id', 'v', 'big'], virtual: [], closed: true, where: null, whereColumns: [] },
};

class Calls extends CallLog {
  passed(): void {
    this.calls.push({ call: 'passed' });
  }
}

interface Change {
  readonly old?: Values;
  readonly row?: Values;
}

/** Writes changes as a plugin does; columns that `values` do not name were not sent again. */
type Encode = (table: Relation, names: readonly string[], change: Change) => Buffer[];

const int16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const int32 = (value: number): Buffer => Buffer.from([value >>> 24, value >> 16, value >> 8, value].map((byte) => byte & 255)); // prettier-ignore

const pgoutput: Encode = (table, names, { old, row }) => {
  const tuple = (values: Values): Buffer =>
    Buffer.concat([
      int16(names.length),
      ...names.map((name) => {
        const value = values[name];
        if (value === null) return Buffer.from('n');
        if (value === undefined) return Buffer.from('u');
        return Buffer.concat([Buffer.from('t'), int32(Buffer.byteLength(value)), Buffer.from(value)]);
      }),
    ]);
  const isFull = table.replicaIdentity === 'full';
  const described = names.map((name) =>
    Buffer.concat([
      Buffer.from([name === 'id' || isFull ? 1 : 0]),
      Buffer.from(`${name}\0`),
      int32(25),
      int32(0),
    ]),
  );
  const head = Buffer.concat([
    Buffer.from('R'),
    int32(table.oid),
    Buffer.from('public\0a\0f'),
    int16(names.length),
  ]);
  const before = old === undefined ? [] : [Buffer.from(isFull ? 'O' : 'K'), tuple(old)];
  const after = row === undefined ? [] : [Buffer.from('N'), tuple(row)];
  const action = row === undefined ? 'D' : old === undefined ? 'I' : 'U';
  return [
    Buffer.concat([Buffer.from('B'), Buffer.alloc(20)]),
    Buffer.concat([head, ...described]),
    Buffer.concat([Buffer.from(action), int32(table.oid), ...before, ...after]),
  ];
};

const wal2json: Encode = (_, names, { old, row }) => {
  const head = '"xid":7,"timestamp":"2026-11-21 09:23:03.144916+00"';
  const list = (values: Values): string =>
    names
      .filter((name) => values[name] !== undefined)
      .map((name) => `{"name":"${name}","value":${JSON.stringify(values[name])}}`)
      .join(',');
  const action = row === undefined ? 'D' : old === undefined ? 'I' : 'U';
  const parts = [
    ...(row === undefined ? [] : [`"columns":[${list(row)}]`]),
    ...(old === undefined ? [] : [`"identity":[${list(old)}]`]),
  ];
  return [
    Buffer.from(`{"action":"B",${head},"lsn":"0/10","nextlsn":"0/40"}`),
    Buffer.from(
      `{"action":"${action}",${head},"lsn":"0/8","schema":"public","table":"a",${parts.join(',')}}`,
    ),
  ];
};

describe.each([
  ['pgoutput', pgoutput, PgoutputDecoder],
  ['wal2json', wal2json, Wal2jsonDecoder],
] as const)('selection by the decoder, %s', (plugin, encode, Decoder) => {
  const decode = (table: Relation, change: Change, names: readonly string[] = NAMES): unknown[] => {
    const calls = new Calls();
    const filters = decoderFilters([table], { plugin, version: 150_000 });
    const decoder = new Decoder([table], calls, undefined, filters);
    for (const message of encode(table, names, change)) decoder.decode(message);
    return calls.calls.slice(1).map((each) => {
      const { call, old, row } = each as { call: string; old?: Values; row?: Values };
      return { call, ...(old == null ? {} : { old }), ...(row === undefined ? {} : { row }) };
    });
  };

  const here = { secret: 's', id: '1', country: 'DE', v: 'a', big: 'long' };
  const there = { ...here, country: 'FR', v: 'b' };
  const nowhere = { ...here, country: null };
  const copied = ({ id, v, big }: { id: string; v: string; big: string }): Values => ({ id, v, big });

  it.each([
    ['an insert that meets the condition', { row: here }, { call: 'insert', row: copied(here) }],
    ['an insert that does not', { row: there }, { call: 'passed' }],
    ['an insert of which it is unknown', { row: nowhere }, { call: 'passed' }],
    [
      'an update inside',
      { old: here, row: { ...here, v: 'c' } },
      { call: 'update', old: copied(here), row: { ...copied(here), v: 'c' } },
    ],
    ['an update outside', { old: there, row: nowhere }, { call: 'passed' }],
    ['an update in', { old: there, row: here }, { call: 'insert', row: copied(here) }],
    ['an update out', { old: here, row: there }, { call: 'delete', old: copied(here) }],
    ['an update out, to null', { old: here, row: nowhere }, { call: 'delete', old: copied(here) }],
    [
      'an update in with another key',
      { old: there, row: { ...here, id: '2' } },
      { call: 'insert', row: { ...copied(here), id: '2' } },
    ],
    ['a delete inside', { old: here }, { call: 'delete', old: copied(here) }],
    ['a delete outside', { old: there }, { call: 'passed' }],
    [
      'an update in whose large value was not sent again',
      { old: there, row: { secret: 's', id: '1', country: 'DE', v: 'c' } },
      { call: 'insert', row: { id: '1', v: 'c', big: 'long' } },
    ],
    [
      'an update inside whose read value was not sent again',
      { old: here, row: { secret: 's', id: '1', v: 'c', big: 'x' } },
      { call: 'update', old: copied(here), row: { id: '1', v: 'c', big: 'x' } },
    ],
  ])('makes of %s what it is for the copy', (_, change: Change, expected) => {
    expect(decode(FULL, change)).toEqual([expected]);
  });

  it('tells by the key alone where the old row is no more', () => {
    const row = { secret: 's', id: '11', country: null, v: 'a' };
    expect(decode(KEYED, { old: { id: '9' }, row })).toEqual([{ call: 'insert', row: { id: '11', v: 'a' } }]);
    expect(decode(KEYED, { old: { id: '11' }, row: { ...row, id: '9' } })).toEqual([
      { call: 'delete', old: { id: '11' } },
    ]);
    expect(decode(KEYED, { old: { id: '9' } })).toEqual([{ call: 'passed' }]);
  });

  it('stops where the old row should have what the condition reads, and has not', () => {
    expect(() => decode(FULL, { old: { id: '1' }, row: here })).toThrow(
      expect.objectContaining({ kind: 'table_no_identity', table: 'public.a' }),
    );
  });

  it('passes over columns that came later, and notices one that was renamed', () => {
    const row = { id: '1', later: 'x', v: 'a', big: 'b' };
    expect(decode(LISTED, { row }, ['id', 'later', 'v', 'big'])).toEqual([
      { call: 'insert', row: { id: '1', v: 'a', big: 'b' } },
    ]);
    const renamed = { old: { id: '1', w: 'a', big: 'b' }, row: { id: '1', w: 'c', big: 'b' } };
    expect(() => decode(LISTED, renamed, ['id', 'w', 'big'])).toThrow(
      expect.objectContaining({ kind: 'schema_changed' }),
    );
  });

  it('notices a column that came later where what is left out is listed', () => {
    expect(() => decode(FULL, { row: { ...here, later: 'x' } }, [...NAMES, 'later'])).toThrow(
      expect.objectContaining({ kind: 'schema_changed' }),
    );
  });
});

describe('a condition', () => {
  it.each([
    ['pgoutput', 140_000, 'country', /Postgres 15/],
    ['wal2json', 150_000, 'country', /source\.decoder to pgoutput/],
  ] as const)('that %s of %i cannot have evaluated is refused', (plugin, version, name, fix) => {
    const where = `(lower(${name}) = 'de'::text)`;
    const table = {
      ...FULL,
      selection: { ...SELECTION, where, whereColumns: [{ ...COUNTRY, foreign: false }] },
    };
    expect(() => decoderFilters([table], { plugin, version })).toThrow(
      expect.objectContaining({ kind: 'config_invalid', fix: expect.stringMatching(fix) as string }),
    );
    expect(decoderFilters([table], { plugin: 'pgoutput', version: 150_000 }).size).toBe(0);
  });

  it('under a collation by which different texts are equal is refused', () => {
    const table = { ...FULL, selection: { ...SELECTION, whereColumns: [{ ...COUNTRY, fuzzy: true }] } };
    expect(() => decoderFilters([table], { plugin: 'wal2json', version: 150_000 })).toThrow(/collation/);
  });
});
