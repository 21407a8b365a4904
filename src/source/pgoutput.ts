import type { ChangeHandler } from '../pipeline/change.js';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import type { Evolutions, Since } from '../pipeline/source.js';
import { ABSENT, NULL, Tuple, YOUNGER } from '../pipeline/tuple.js';
import { decodeFailed, hasKey, identityLost, oldImage, schemaChanged, type Decoder } from './decoder.js';
import { Envelope } from './envelope.js';
import { FilteredChanges } from './filtered-changes.js';
import { Layout, PASSED_OVER, type RowFilters } from './layout.js';
import { LONG_BYTES } from './long-messages.js';

/** Microseconds from 1970-01-01 to 2000-01-01, where Postgres counts from. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;

const BEGIN = 0x42;
const COMMIT = 0x43;
const DELETE = 0x44;
const INSERT = 0x49;
const KEY = 0x4b;
const MESSAGE = 0x4d;
const NEW = 0x4e;
const OLD_OR_ORIGIN = 0x4f;
const RELATION = 0x52;
const TRUNCATE = 0x54;
const UPDATE = 0x55;
const TYPE = 0x59;

const VALUE_NULL = 0x6e;
const VALUE_TEXT = 0x74;
const VALUE_UNCHANGED = 0x75;

/** What a Relation message said: where the columns on the wire go. Null for tables that are not configured. */
interface Wire {
  readonly relation: Relation;
  /** The place in the tuple of each column, or PASSED_OVER. */
  readonly columns: Int32Array;
  /** 1 where the wire's column belongs to the old key. */
  readonly isKey: Uint8Array;
  /** Places of the tuple, all of which are on the wire where it is `complete`. */
  readonly width: number;
  readonly complete: boolean;
  /** Places whose columns are younger than what is described. */
  readonly younger: readonly number[];
}

/** Decoder of pgoutput, protocol version 1, values as text. */
export class PgoutputDecoder implements Decoder {
  readonly #relations: ReadonlyMap<string, Relation>;
  readonly #oids: ReadonlyMap<number, Relation>;
  /** An error: described in a layout that is not the catalog's, which is fine for changes of before the table's snapshot. */
  readonly #wires = new Map<number, Wire | WalhouseError | null>();
  readonly #filters: RowFilters;
  readonly #evolutions: Evolutions;
  readonly #envelope: Envelope;
  readonly #row = new Tuple();
  readonly #old = new Tuple();
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /** `filters` for those conditions that the publication does not have. */
  constructor(
    relations: readonly Relation[],
    handler: ChangeHandler,
    since?: Since,
    filters: RowFilters = new Map(),
    evolutions: Evolutions = () => null,
  ) {
    const filtered = filters.size === 0 ? handler : new FilteredChanges(handler, filters);
    this.#envelope = new Envelope(relations, filtered, since, (reason) => this.#failed(reason));
    this.#filters = filters;
    this.#evolutions = evolutions;
    this.#relations = new Map(relations.map((relation) => [relation.id, relation]));
    this.#oids = new Map(relations.map((relation) => [relation.oid, relation]));
  }

  get open(): boolean {
    return this.#envelope.open;
  }

  excuses(error: unknown): boolean {
    return this.#envelope.excuses(error);
  }

  decode(message: Buffer): void {
    try {
      this.#decode(message);
    } catch (error) {
      if (!(error instanceof WalhouseError) || !this.#envelope.excuses(error)) throw error;
      // The description is sent once; each change that relies on it is judged by its own position.
      if (message[0] === RELATION) this.#wires.set(message.readUInt32BE(1), error);
      else this.#envelope.pass();
    }
  }

  #decode(message: Buffer): void {
    this.#bytes = message;
    this.#at = 1;
    switch (message[0]) {
      case INSERT:
        return this.#insert();
      case UPDATE:
        return this.#update();
      case DELETE:
        return this.#delete();
      case BEGIN:
        return this.#begin();
      case COMMIT:
        return this.#commit();
      case RELATION:
        return this.#relation();
      case TRUNCATE:
        return this.#truncate();
      case TYPE:
      case OLD_OR_ORIGIN:
      case MESSAGE:
        return;
      default:
        throw this.#failed('unknown message');
    }
  }

  #begin(): void {
    this.#need(20); // commit position, commit time, transaction id
    this.#envelope.begin({
      commitLsn: this.#bytes.readBigUInt64BE(1),
      committedAtUs: this.#bytes.readBigInt64BE(9) + POSTGRES_EPOCH_US,
      xid: this.#bytes.readUInt32BE(17),
    });
  }

  #commit(): void {
    this.#need(25); // flags, commit position, end position, commit time
    this.#envelope.commit(this.#bytes.readBigUInt64BE(2), this.#bytes.readBigUInt64BE(10));
  }

  #insert(): void {
    const wire = this.#wire();
    if (wire === null) return;
    if (this.#byte() !== NEW) throw this.#failed('an insert without its row');
    this.#tuple(wire, this.#row);
    this.#envelope.tell().insert(wire.relation, this.#row);
  }

  #update(): void {
    const wire = this.#wire();
    if (wire === null) return;
    const { relation } = wire;
    let marker = this.#byte();
    const full = marker === OLD_OR_ORIGIN;
    const hasOld = full || marker === KEY;
    if (hasOld) {
      this.#oldTuple(wire, full);
      marker = this.#byte();
    }
    if (marker !== NEW) throw this.#failed('an update without its row');
    this.#tuple(wire, this.#row);
    const old = hasOld ? oldImage(relation, this.#old, this.#row, full) : null;
    if (!hasKey(relation, this.#row)) throw identityLost(relation);
    this.#envelope.tell().update(relation, old, this.#row);
  }

  #delete(): void {
    const wire = this.#wire();
    if (wire === null) return;
    const marker = this.#byte();
    if (marker !== OLD_OR_ORIGIN && marker !== KEY) throw this.#failed('a delete without its row');
    this.#oldTuple(wire, marker === OLD_OR_ORIGIN);
    this.#envelope.tell().delete(wire.relation, this.#old);
  }

  #truncate(): void {
    this.#need(6);
    const count = this.#bytes.readUInt32BE(1);
    this.#at = 6;
    this.#need(count * 4);
    const relations: Relation[] = [];
    for (let index = 0; index < count; index += 1) {
      const wire = this.#wire();
      if (wire !== null) relations.push(wire.relation);
    }
    if (relations.length === 0) return;
    this.#envelope.tell().truncate(relations);
  }

  /** Reads a relation's oid; null when the table is not configured. */
  #wire(): Wire | null {
    this.#need(4);
    const oid = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    const wire = this.#wires.get(oid);
    if (wire === undefined) throw this.#failed('a change of a table that was not described');
    if (wire instanceof WalhouseError) throw wire;
    return wire !== null && this.#envelope.passes(wire.relation) ? null : wire;
  }

  #relation(): void {
    this.#need(4);
    const oid = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    const id = `${this.#string() || 'pg_catalog'}.${this.#string()}`;
    const relation = this.#relations.get(id);
    const known = this.#oids.get(oid);
    if (known !== undefined && known !== relation) throw schemaChanged(known, `it is called ${id} now`);
    if (relation === undefined) {
      this.#wires.set(oid, null);
      return;
    }
    if (known === undefined) throw schemaChanged(relation, 'the table was dropped and made again');
    this.#need(3);
    this.#at += 1; // Its replica identity; what matters of it is in the columns' flags.
    const count = this.#bytes.readUInt16BE(this.#at);
    this.#at += 2;
    // After a change of columns the table is described again, so what is described now holds until then.
    const evolution = this.#evolutions(relation);
    const isOlder = evolution !== null && this.#envelope.commitLsn < evolution.until;
    const layout = new Layout(relation, this.#filters.has(relation), isOlder ? evolution : null);
    const { names, places, required } = layout;
    const columns = new Int32Array(count);
    const isKey = new Uint8Array(count);
    let mapped = 0;
    let next = 0;
    for (let index = 0; index < count; index += 1) {
      isKey[index] = this.#byte() & 1;
      const name = this.#string();
      this.#need(8);
      this.#at += 8;
      if (layout.closed && !names.includes(name)) {
        columns[index] = PASSED_OVER;
        continue;
      }
      // Left out by the publication, or a generated column, which is published since Postgres 18 and only where that is asked for.
      while (next < names.length && !required[next]! && names[next] !== name) next += 1;
      if (names[next] !== name) throw schemaChanged(relation, columnAt(names, next, name));
      columns[index] = places[next]!;
      if (places[next] !== PASSED_OVER) mapped += 1;
      next += 1;
    }
    const gone = required.findIndex((isRequired, index) => isRequired && index >= next);
    if (gone >= 0) throw schemaChanged(relation, `column ${names[gone]!} is gone`);
    const { width } = layout;
    const younger = layout.younger.filter((place) => !columns.includes(place));
    this.#wires.set(oid, { relation, columns, isKey, width, complete: mapped === width, younger });
  }

  #oldTuple(wire: Wire, full: boolean): void {
    const { relation, isKey, columns } = wire;
    this.#tuple(wire, this.#old);
    if (!full) {
      // Columns outside the key are sent as nulls that mean nothing.
      for (let index = 0; index < columns.length; index += 1) {
        const place = columns[index]!;
        if (isKey[index] === 0 && place !== PASSED_OVER) this.#old.start[place] = ABSENT;
      }
    }
    if (!hasKey(relation, this.#old)) throw identityLost(relation);
  }

  #tuple(wire: Wire, tuple: Tuple): void {
    const bytes = this.#bytes;
    const { columns } = wire;
    const { start, end } = tuple;
    let at = this.#at;
    const length = bytes.length;
    tuple.bytes = bytes;
    tuple.lasting = bytes.length >= LONG_BYTES;
    tuple.count = wire.relation.columns.length;
    if (!wire.complete) {
      start.fill(ABSENT, 0, wire.width);
      for (const place of wire.younger) start[place] = YOUNGER;
    }
    if (at + 2 > length || ((bytes[at]! << 8) | bytes[at + 1]!) !== columns.length)
      throw this.#failed('a row with another number of columns than its table');
    at += 2;
    for (let index = 0; index < columns.length; index += 1) {
      const column = columns[index]!;
      const kind = bytes[at];
      at += 1;
      if (kind === VALUE_TEXT) {
        if (at + 4 > length) throw this.#failed('a value that is cut off');
        const size = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
        at += 4;
        if (size < 0 || size > length - at) throw this.#failed('a value that is cut off');
        if (column !== PASSED_OVER) {
          start[column] = at;
          end[column] = at + size;
        }
        at += size;
      } else if (column === PASSED_OVER) {
        if (kind !== VALUE_NULL && kind !== VALUE_UNCHANGED) throw this.#failed('a value of an unknown kind');
      } else if (kind === VALUE_NULL) start[column] = NULL;
      else if (kind === VALUE_UNCHANGED) start[column] = ABSENT;
      else throw this.#failed('a value of an unknown kind');
    }
    this.#at = at;
  }

  #byte(): number {
    this.#need(1);
    const byte = this.#bytes[this.#at]!;
    this.#at += 1;
    return byte;
  }

  #string(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end < 0) throw this.#failed('a name without its end');
    const text = this.#bytes.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  #need(bytes: number): void {
    if (this.#at + bytes > this.#bytes.length) throw this.#failed('it is cut off');
  }

  #failed(reason: string): Error {
    return decodeFailed('pgoutput', reason, this.#at);
  }
}

function columnAt(names: readonly string[], index: number, name: string): string {
  const expected = names[index];
  return expected === undefined ? `column ${name} is new` : `column ${name} stands where ${expected} was`;
}
