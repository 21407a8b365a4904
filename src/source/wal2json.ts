import type { ChangeHandler } from '../pipeline/change.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { Evolutions, Since } from '../pipeline/source.js';
import { Tuple } from '../pipeline/tuple.js';
import { hasKey, identityLost, oldImage, type Decoder } from './decoder.js';
import { Envelope } from './envelope.js';
import { FilteredChanges } from './filtered-changes.js';
import { JsonScanner } from './json-scanner.js';
import type { RowFilters } from './layout.js';
import type { TableShape } from './wal2json-table.js';
import { shapeLookup, tableShapes } from './wal2json-table.js';

const ACTION_AT = 11;
/** Every message begins with it, and the action's letter follows. */
const PREAMBLE = Buffer.from('{"action":"');

const BEGIN = 0x42;
const COMMIT = 0x43;
const DELETE = 0x44;
const INSERT = 0x49;
const MESSAGE = 0x4d;
const TRUNCATE = 0x54;
const UPDATE = 0x55;

/** Decoder of wal2json, format version 2, with positions, times, transaction ids and transactions, without types. */
export class Wal2jsonDecoder implements Decoder {
  /** Those whose columns have changed. */
  readonly #evolving: readonly TableShape[];
  readonly #shapeOf: (scanner: JsonScanner) => TableShape | null;
  readonly #envelope: Envelope;
  readonly #scanner = new JsonScanner();
  readonly #row = new Tuple();
  readonly #old = new Tuple();
  /** One TRUNCATE of several tables comes as one message for each, all with one position. */
  #truncated: Relation[] = [];
  #truncateLsn: Lsn = 0n;

  constructor(
    relations: readonly Relation[],
    handler: ChangeHandler,
    since?: Since,
    filters: RowFilters = new Map(),
    evolutions: Evolutions = () => null,
  ) {
    const filtered = filters.size === 0 ? handler : new FilteredChanges(handler, filters);
    this.#envelope = new Envelope(relations, filtered, since, (reason) => this.#scanner.failed(reason));
    const shapes = tableShapes(relations, filters, evolutions);
    this.#evolving = shapes.filter(({ evolves }) => evolves);
    this.#shapeOf = shapeLookup(shapes);
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
      if (!this.#envelope.excuses(error)) throw error;
      this.#envelope.pass();
    }
  }

  #decode(message: Buffer): void {
    const scanner = this.#scanner;
    scanner.reset(message);
    if (!scanner.matches(PREAMBLE) || message[ACTION_AT + 1] !== 0x22) throw scanner.failed('no action');
    scanner.at = ACTION_AT + 2;
    const action = message[ACTION_AT];
    if (this.#truncated.length > 0 && action !== TRUNCATE) this.#flushTruncate();
    switch (action) {
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
      case TRUNCATE:
        return this.#truncate();
      case MESSAGE:
        return;
      default:
        throw scanner.failed('unknown action');
    }
  }

  #begin(): void {
    const scanner = this.#scanner;
    let commitLsn: Lsn | null = null;
    let committedAtUs: bigint | null = null;
    let xid: number | null = null;
    for (let key = scanner.key(); key !== null; key = scanner.key()) {
      if (key === 'lsn') commitLsn = scanner.lsn();
      else if (key === 'timestamp') committedAtUs = scanner.timestampUs();
      else if (key === 'xid') xid = scanner.integer();
      else scanner.skip();
    }
    scanner.done();
    if (commitLsn === null || committedAtUs === null || xid === null)
      throw scanner.failed('a begin without position, time or transaction id');
    this.#envelope.begin({ commitLsn, committedAtUs, xid });
    for (const shape of this.#evolving) shape.begin(commitLsn);
  }

  #commit(): void {
    const scanner = this.#scanner;
    let commitLsn: Lsn | null = null;
    let endLsn: Lsn | null = null;
    for (let key = scanner.key(); key !== null; key = scanner.key()) {
      if (key === 'lsn') commitLsn = scanner.lsn();
      else if (key === 'nextlsn') endLsn = scanner.lsn();
      else scanner.skip();
    }
    scanner.done();
    if (commitLsn === null || endLsn === null) throw scanner.failed('a commit without its positions');
    this.#envelope.commit(commitLsn, endLsn);
  }

  #insert(): void {
    const shape = this.#table();
    if (shape === null) return;
    this.#expect('columns');
    shape.read(this.#scanner, this.#row);
    shape.requireWhole(this.#row);
    shape.settleYounger(this.#row);
    this.#scanner.end();
    this.#envelope.tell().insert(shape.relation, this.#row);
  }

  #update(): void {
    const shape = this.#table();
    if (shape === null) return;
    const { relation } = shape;
    this.#expect('columns');
    shape.read(this.#scanner, this.#row);
    this.#expect('identity');
    shape.read(this.#scanner, this.#old);
    this.#scanner.end();
    if (relation.replicaIdentity === 'full') shape.settleYounger(this.#row, this.#old);
    if (!hasKey(relation, this.#old)) throw identityLost(relation);
    const old = oldImage(relation, this.#old, this.#row, relation.replicaIdentity === 'full');
    this.#envelope.tell().update(relation, old, this.#row);
  }

  #delete(): void {
    const shape = this.#table();
    if (shape === null) return;
    this.#expect('identity');
    shape.read(this.#scanner, this.#old);
    this.#scanner.end();
    if (!hasKey(shape.relation, this.#old)) throw identityLost(shape.relation);
    this.#envelope.tell().delete(shape.relation, this.#old);
  }

  #truncate(): void {
    const scanner = this.#scanner;
    let lsn: Lsn | null = null;
    let shape: TableShape | null = null;
    for (let key = scanner.key(); key !== null; key = scanner.key()) {
      if (key === 'lsn') lsn = scanner.lsn();
      else if (key === 'schema') shape = this.#shapeOf(scanner);
      else scanner.skip();
    }
    scanner.done();
    if (lsn === null) throw scanner.failed('a truncate without its position');
    if (!this.#envelope.open) throw scanner.failed('a change outside a transaction');
    if (lsn !== this.#truncateLsn && this.#truncated.length > 0) this.#flushTruncate();
    this.#truncateLsn = lsn;
    if (shape === null) return;
    if (!this.#envelope.passes(shape.relation)) this.#truncated.push(shape.relation);
  }

  #flushTruncate(): void {
    const relations = this.#truncated;
    this.#truncated = [];
    this.#envelope.tell().truncate(relations);
  }

  /** Passes what every row's message carries and finds its table; null when that is not configured. */
  #table(): TableShape | null {
    const scanner = this.#scanner;
    for (let key = scanner.key(); key !== null; key = scanner.key()) {
      if (key === 'schema') {
        const shape = this.#shapeOf(scanner);
        return shape !== null && this.#envelope.passes(shape.relation) ? null : shape;
      }
      scanner.skip();
    }
    throw scanner.failed('a change without its table');
  }

  #expect(key: string): void {
    if (this.#scanner.key() !== key) throw this.#scanner.failed(`no ${key} where they should be`);
  }
}
