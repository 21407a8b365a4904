import type { ChangeHandler, TransactionEnd, TransactionStart } from '../../src/pipeline/change.js';
import type { Column, Relation, ReplicaIdentity } from '../../src/pipeline/relation.js';
import type { Tuple } from '../../src/pipeline/tuple.js';

export function column(
  name: string,
  type: string,
  more: Partial<Column> & { modifier?: number } = {},
): Column {
  const { modifier = -1, ...rest } = more;
  return {
    name,
    type: { name: type, kind: 'base', modifier, text: type },
    notNull: false,
    generated: false,
    comment: null,
    ...rest,
  };
}

export function relation(
  schema: string,
  name: string,
  columns: readonly Column[],
  replicaIdentity: ReplicaIdentity = 'default',
): Relation {
  return {
    oid: 16_400,
    schema,
    name,
    id: `${schema}.${name}`,
    columns,
    key: [0],
    replicaIdentity,
    comment: null,
  };
}

/** Keeps calls as plain objects; reads every value, so that an offset out of range shows. */
export class CallLog implements ChangeHandler {
  readonly calls: object[] = [];

  begin(transaction: TransactionStart): void {
    this.calls.push({ call: 'begin', ...transaction });
  }

  insert({ id, columns }: Relation, row: Tuple): void {
    this.calls.push({ call: 'insert', table: id, row: values(columns, row) });
  }

  update({ id, columns }: Relation, old: Tuple | null, row: Tuple): void {
    this.calls.push({
      call: 'update',
      table: id,
      old: old === null ? null : values(columns, old),
      row: values(columns, row),
    });
  }

  delete({ id, columns }: Relation, old: Tuple): void {
    this.calls.push({ call: 'delete', table: id, old: values(columns, old) });
  }

  truncate(relations: readonly Relation[]): void {
    this.calls.push({ call: 'truncate', tables: relations.map(({ id }) => id) });
  }

  commit(transaction: TransactionEnd): void {
    this.calls.push({ call: 'commit', ...transaction });
  }

  caughtUp(): void {}
}

function values(columns: readonly Column[], row: Tuple): Record<string, string | null> {
  const found: Record<string, string | null> = {};
  columns.forEach(({ name }, index) => {
    const start = row.start[index]!;
    if (start >= 0 && (row.end[index]! < start || row.end[index]! > row.bytes.length))
      throw new RangeError(`column ${name} lies outside of its bytes`);
    const text = row.text(index);
    if (text !== undefined) found[name] = text;
  });
  return found;
}

/** A small generator whose whole sequence follows from its seed (mulberry32); gives integers below `limit`. */
export function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

/** Damages a message: bytes changed, cut out, doubled, or the end cut off. */
export function mutate(message: Buffer, next: (limit: number) => number): Buffer {
  let bytes = Buffer.from(message);
  for (let times = 1 + next(4); times > 0 && bytes.length > 0; times -= 1) {
    const at = next(bytes.length);
    const size = 1 + next(8);
    switch (next(4)) {
      case 0:
        bytes[at] = next(256);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at + size), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.from(bytes.subarray(0, at));
    }
  }
  return bytes;
}
