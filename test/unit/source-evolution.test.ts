import { describe, expect, it } from 'vitest';
import type { ChangeHandler } from '../../src/pipeline/change.js';
import type { Relation, ReplicaIdentity } from '../../src/pipeline/relation.js';
import type { Evolution } from '../../src/pipeline/source.js';
import { ABSENT, NULL, YOUNGER, type Tuple } from '../../src/pipeline/tuple.js';
import { PgoutputDecoder } from '../../src/source/pgoutput.js';
import { Wal2jsonDecoder } from '../../src/source/wal2json.js';
import { column, relation } from './source-messages.js';

/** `gone` stood between `id` and `v`; `late` came last. */
const EVOLUTION: Evolution = { names: ['id', 'gone', 'v', 'late'], younger: ['late'], until: 0x20n };
const table = (identity: ReplicaIdentity): Relation =>
  relation(
    'public',
    'a',
    [column('id', 'int8', { notNull: true }), column('v', 'text'), column('late', 'text')],
    identity,
  );

/** Columns with their values, as they come. */
type Row = readonly (readonly [string, string | null])[];

interface Change {
  readonly op: 'insert' | 'update' | 'delete';
  readonly row: Row;
  /** What stands before it: the whole row under FULL, else the key. */
  readonly old?: Row;
}

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
const join = (...parts: (string | Buffer)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));

function pgoutput(of: Relation, commitLsn: bigint, { op, row, old }: Change): Buffer[] {
  const tuple = (values: Row): Buffer =>
    join(
      int16(values.length),
      ...values.map(([, value]) =>
        value === null ? Buffer.from('n') : join('t', int32(Buffer.byteLength(value)), value),
      ),
    );
  const described = join(
    'R',
    int32(of.oid),
    'public\0a\0d',
    int16(row.length),
    ...row.map(([name]) => join(Buffer.from([name === 'id' ? 1 : 0]), `${name}\0`, int32(20), int32(0))),
  );
  const before = old === undefined ? '' : join(of.replicaIdentity === 'full' ? 'O' : 'K', tuple(old));
  const change =
    op === 'insert'
      ? join('I', int32(of.oid), 'N', tuple(row))
      : op === 'update'
        ? join('U', int32(of.oid), before, 'N', tuple(row))
        : join('D', int32(of.oid), before);
  return [join('B', int64(commitLsn), int64(1n), int32(7)), described, change];
}

function wal2json(_: Relation, commitLsn: bigint, { op, row, old }: Change): Buffer[] {
  const head = '"xid":7,"timestamp":"2026-11-21 09:23:03.144916+00"';
  const lsn = `"lsn":"0/${commitLsn.toString(16)}"`;
  const list = (values: Row): string =>
    JSON.stringify(values.map(([name, value]) => ({ name, value: value === null ? null : value })));
  const parts = [
    ...(op === 'delete' ? [] : [`"columns":${list(row)}`]),
    ...(op === 'insert' ? [] : [`"identity":${list(old ?? row.slice(0, 1))}`]),
  ];
  const action = op[0]!.toUpperCase();
  return [
    `{"action":"B",${head},${lsn},"nextlsn":"0/40"}`,
    `{"action":"${action}",${head},"lsn":"0/8","schema":"public","table":"a",${parts.join(',')}}`,
  ].map((text) => Buffer.from(text));
}

const DECODERS = {
  pgoutput: { messages: pgoutput, Decoder: PgoutputDecoder },
  wal2json: { messages: wal2json, Decoder: Wal2jsonDecoder },
};

/** What the sink gets of each column: a text, or why there is none. */
function seen(of: Relation, row: Tuple): Record<string, string | number | null> {
  return Object.fromEntries(
    of.columns.map(({ name }, index) => {
      const start = row.start[index]!;
      return [name, start === NULL ? null : start < 0 ? start : row.text(index)!];
    }),
  );
}

function decode(plugin: keyof typeof DECODERS, of: Relation, commitLsn: bigint, change: Change): unknown {
  const found: unknown[] = [];
  const handler: ChangeHandler = {
    begin() {},
    insert: (_, row) => void found.push({ row: seen(of, row) }),
    update: (_, old, row) =>
      void found.push({ row: seen(of, row), ...(old === null ? {} : { old: seen(of, old) }) }),
    delete: (_, old) => void found.push({ old: seen(of, old) }),
    truncate() {},
    commit() {},
    caughtUp() {},
  };
  const { messages, Decoder } = DECODERS[plugin];
  const decoder = new Decoder([of], handler, undefined, undefined, () => EVOLUTION);
  for (const message of messages(of, commitLsn, change)) decoder.decode(message);
  return found[0];
}

const OLDER: Row = [
  ['id', '1'],
  ['gone', 'x'],
  ['v', 'y'],
];
const TODAY: Row = [
  ['id', '1'],
  ['v', 'y'],
  ['late', null],
];

describe.each(['pgoutput', 'wal2json'] as const)(
  'changes of before a change of columns, from %s',
  (plugin) => {
    const full = table('full');
    const keyed = table('default');

    it('lack what is younger and lose what is gone', () => {
      expect(decode(plugin, keyed, 0x10n, { op: 'insert', row: OLDER })).toEqual({
        row: { id: '1', v: 'y', late: YOUNGER },
      });
      expect(decode(plugin, full, 0x10n, { op: 'update', row: OLDER, old: OLDER })).toEqual({
        row: { id: '1', v: 'y', late: YOUNGER },
        old: { id: '1', v: 'y', late: YOUNGER },
      });
      expect(decode(plugin, full, 0x10n, { op: 'delete', row: OLDER, old: OLDER })).toMatchObject({
        old: { id: '1', v: 'y' },
      });
    });

    it('may already be of today, or of between', () => {
      expect(decode(plugin, keyed, 0x10n, { op: 'insert', row: TODAY })).toEqual({
        row: { id: '1', v: 'y', late: null },
      });
      expect(decode(plugin, keyed, 0x10n, { op: 'insert', row: TODAY.slice(0, 2) })).toEqual({
        row: { id: '1', v: 'y', late: YOUNGER },
      });
    });

    it('without their whole old row leave a value open that may only be unchanged', () => {
      const late = plugin === 'wal2json' ? ABSENT : YOUNGER;
      expect(decode(plugin, keyed, 0x10n, { op: 'update', row: OLDER })).toEqual({
        row: { id: '1', v: 'y', late },
      });
    });

    it.each([
      ['in another order', [OLDER[0]!, OLDER[2]!, OLDER[1]!]],
      ['with a column that never was', [...OLDER, ['other', 'z']]],
      ['without one that always was', OLDER.slice(0, 2)],
    ] as [string, Row][])('are refused %s', (_, row) => {
      expect(() => decode(plugin, keyed, 0x10n, { op: 'insert', row })).toThrowError(
        expect.objectContaining({ kind: 'schema_changed', table: 'public.a' }) as Error,
      );
    });

    it('are refused from the position on at which the columns were read', () => {
      expect(() => decode(plugin, keyed, 0x20n, { op: 'insert', row: OLDER })).toThrowError(
        expect.objectContaining({ kind: 'schema_changed' }) as Error,
      );
      expect(decode(plugin, keyed, 0x20n, { op: 'insert', row: TODAY })).toEqual({
        row: { id: '1', v: 'y', late: null },
      });
    });
  },
);
