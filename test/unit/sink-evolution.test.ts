import { describe, expect, it } from 'vitest';
import type { RelationStamp } from '../../src/pipeline/relation.js';
import { stepBetween, type Defined, type DefinedColumn, type Step } from '../../src/sink/evolution.js';

const ID: DefinedColumn = { number: 1, name: 'id', source: 'int8', type: 'Int64' };
const NAME: DefinedColumn = { number: 2, name: 'name', source: 'text', type: 'Nullable(String)' };
const QTY: DefinedColumn = { number: 3, name: 'qty', source: 'int4', type: 'Nullable(Int32)' };
const NEW: DefinedColumn = { number: 4, name: 'new', source: 'int4', type: 'Nullable(Int32)' };
const FRAME = 'engine = ReplacingMergeTree order by (id)';

interface Table {
  readonly columns?: readonly DefinedColumn[];
  readonly frame?: string;
  readonly oid?: number;
  readonly selected?: boolean;
  readonly stamp?: Partial<RelationStamp> | null;
}

/** As a table with three columns is at first; `changed` says what is otherwise. */
function defined(changed: Table): Defined {
  const { columns = [ID, NAME, QTY], frame = FRAME, oid = 1, selected = false, stamp = {} } = changed;
  const whole: RelationStamp = { file: '100', columns: 'then', width: 3, missing: {}, leaves: [], ...stamp };
  return {
    definition: { oid, columns, frame, selected },
    stamp: stamp === null ? '' : JSON.stringify(whole),
  };
}

const after = (columns: readonly DefinedColumn[], stamp: Partial<RelationStamp> = {}): Table => ({
  columns,
  stamp: { columns: 'now', width: Math.max(3, ...columns.map(({ number }) => number!)), ...stamp },
});
const added = (...columns: (DefinedColumn & { missing: string | null })[]): Step => ({
  kind: 'alter',
  add: columns,
  drop: [],
});
const dropped = (...columns: DefinedColumn[]): Step => ({ kind: 'alter', add: [], drop: columns });
const SAME: Step = { kind: 'same' };
const resync = (reason: RegExp): Step => ({
  kind: 'resync',
  reason: expect.stringMatching(reason) as string,
});

const LEAF = { oid: 7, link: '/5', file: '200', fresh: true };

describe('what becomes of a landing table whose source has changed', () => {
  it.each<[string, Table, Table, Step]>([
    ['nothing happened', {}, {}, SAME],
    ['defaults, rights and comments', {}, { stamp: { columns: 'now' } }, SAME],
    ['VACUUM FULL', {}, { stamp: { file: '101' } }, SAME],
    ['a nullable column', {}, after([ID, NAME, QTY, NEW]), added({ ...NEW, missing: null })],
    [
      'a column with a constant',
      {},
      after([ID, NAME, QTY, { ...NEW, type: 'Int32' }], { missing: { new: '7' } }),
      added({ ...NEW, type: 'Int32', missing: '7' }),
    ],
    [
      'two columns',
      {},
      after([ID, NAME, QTY, NEW, { ...NEW, number: 5, name: 'newer' }]),
      added({ ...NEW, missing: null }, { ...NEW, number: 5, name: 'newer', missing: null }),
    ],
    [
      'a column is masked',
      {},
      { columns: [ID, { ...NAME, mask: 'k1' }, QTY] },
      resync(/name is masked from/),
    ],
    [
      'a column is masked with another key',
      { columns: [ID, { ...NAME, mask: 'k1' }, QTY] },
      { columns: [ID, { ...NAME, mask: 'k2' }, QTY] },
      resync(/masked with another key/),
    ],
    [
      'a column is not masked any more',
      { columns: [ID, { ...NAME, mask: 'k1' }, QTY] },
      {},
      resync(/not masked any more/),
    ],
    ['a column less', {}, after([ID, QTY]), dropped(NAME)],
    ['the last column less', {}, after([ID, NAME]), dropped(QTY)],
    [
      'a new partition',
      { stamp: { leaves: [LEAF] } },
      { stamp: { leaves: [LEAF, { ...LEAF, oid: 8 }] } },
      SAME,
    ],
    [
      'a new column in rows that were rewritten',
      {},
      after([ID, NAME, QTY, NEW], { file: '101' }),
      resync(/rewritten/),
    ],
    [
      'a new column that is not null and has no constant',
      {},
      after([ID, NAME, QTY, { ...NEW, type: 'Int32' }]),
      resync(/what older rows show in new/),
    ],
    [
      'a new column whose constant is not the same in all partitions',
      {},
      after([ID, NAME, QTY, NEW], { missing: { new: false } }),
      resync(/partitions/),
    ],
    [
      'a column came and went before the new one',
      {},
      after([ID, NAME, QTY, { ...NEW, number: 5 }]),
      resync(/come and gone/),
    ],
    ['a column came and went', {}, after([ID, NAME, QTY], { width: 4 }), SAME],
    [
      'a column came and went beside one that was dropped',
      {},
      after([ID, NAME], { width: 4 }),
      resync(/come and gone/),
    ],
    ['one dropped and one added', {}, after([ID, NAME, NEW]), resync(/both/)],
    [
      'a column made again under its name',
      {},
      after([ID, NAME, { ...QTY, number: 4 }]),
      resync(/both added and dropped \(qty, qty\)/),
    ],
    ['a column renamed', {}, after([ID, NAME, { ...QTY, name: 'n' }]), resync(/qty is called n/)],
    [
      'two columns that changed names',
      {},
      after([ID, { ...NAME, name: 'qty' }, { ...QTY, name: 'name' }]),
      resync(/is called/),
    ],
    ['another type', {}, after([ID, NAME, { ...QTY, type: 'Nullable(Int64)' }]), resync(/another type/)],
    [
      'a type that looks otherwise in the same ClickHouse type',
      {},
      after([ID, { ...NAME, source: 'inet' }, QTY]),
      resync(/another type/),
    ],
    ['another key', {}, { frame: 'order by (name)' }, resync(/key/)],
    ['another table', {}, { oid: 2 }, resync(/made again/)],
    ['a selection', {}, { selected: true }, resync(/selected/)],
    [
      'a new column of a table of which some are selected',
      { selected: true },
      { ...after([ID, NAME, QTY, NEW]), selected: true },
      resync(/selected/),
    ],
    [
      'a partition truncated',
      { stamp: { leaves: [LEAF] } },
      { stamp: { leaves: [{ ...LEAF, file: '201' }] } },
      resync(/partitions/),
    ],
    ['a partition detached', { stamp: { leaves: [LEAF] } }, {}, resync(/partitions/)],
    [
      'a partition attached again',
      { stamp: { leaves: [LEAF] } },
      { stamp: { leaves: [{ ...LEAF, link: '/6' }] } },
      resync(/partitions/),
    ],
    [
      'a partition with rows attached',
      {},
      { stamp: { leaves: [{ ...LEAF, fresh: false }] } },
      resync(/partitions/),
    ],
    ['no stamp, the same columns', { stamp: null }, { stamp: null }, SAME],
    [
      'no stamp, another column',
      { stamp: null },
      { ...after([ID, NAME]), stamp: null },
      resync(/nothing says/),
    ],
    [
      'columns without numbers',
      { columns: [{ ...ID, number: null }] },
      { columns: [ID] },
      resync(/nothing says which column id was/),
    ],
  ])('%s', (_, before, changed, step) => {
    expect(stepBetween(defined(before), defined(changed))).toEqual(step);
  });
});
