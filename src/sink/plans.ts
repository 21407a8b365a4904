import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { maskedStamp, type Masker } from './mask.js';
import type { Marts } from './marts.js';
import type { Databases, Names } from './names.js';
import { planTable, type ColumnOptions, type TablePlan } from './plan.js';
import type { Retention } from './retention.js';

export interface SinkTable {
  readonly retention?: Retention | undefined;
  /** Every change also goes to the audit trail. */
  readonly history: boolean;
  /** ClickHouse types that the configuration chose, by column. */
  readonly columns?: ColumnOptions | undefined;
  /** Columns of which nothing is kept but a hash; `masker` must be there then. */
  readonly mask?: readonly string[] | undefined;
}

export interface PlansOptions {
  /** By relation id, `schema.name`. */
  readonly tables: ReadonlyMap<string, SinkTable>;
  readonly masker?: Masker | undefined;
}

/** How each relation is kept, as it was attached or snapshotted. */
export class Plans {
  readonly #options: PlansOptions;
  readonly #databases: Databases;
  readonly #names: Names;
  readonly #marts: Marts;
  readonly #plans = new Map<Relation, TablePlan>();

  constructor(options: PlansOptions, databases: Databases, names: Names, marts: Marts) {
    this.#options = options;
    this.#databases = databases;
    this.#names = names;
    this.#marts = marts;
  }

  forget(): void {
    this.#plans.clear();
  }

  /** Throws what speaks against keeping it. */
  make(relation: Relation): TablePlan {
    const known = this.#plans.get(relation);
    if (known !== undefined) return known;
    const table = this.#options.tables.get(relation.id);
    const history = table?.history ?? false;
    const plan = planTable(relation, {
      databases: this.#databases,
      name: this.#names.claim(relation, history),
      retention: table?.retention ?? null,
      history,
      martColumns: this.#marts.tracked(relation.id),
      columns: table?.columns,
      mask: table?.mask,
      masker: this.#options.masker,
    });
    this.#marts.check(plan);
    this.#plans.set(relation, plan);
    return plan;
  }

  /** Its table is not what `make` would make of it, but fits. */
  set(relation: Relation, plan: TablePlan): void {
    this.#plans.set(relation, plan);
  }

  /** A relation that was neither attached nor snapshotted has no table that fits it. */
  of(relation: Relation): TablePlan {
    const plan = this.#plans.get(relation);
    if (plan !== undefined) return plan;
    throw new WalhouseError('schema_changed', {
      what: `${relation.id} came in a form that it did not have when streaming began.`,
      why: 'Its table in ClickHouse has other columns.',
      fix: `restart walhouse; if the columns of ${relation.id} have changed, walhouse resync ${relation.id}`,
    });
  }

  /** The relation's stamp, as it may be stored. */
  stampOf({ id, stamp }: Relation): string {
    const { tables, masker } = this.#options;
    const mask = tables.get(id)?.mask ?? [];
    if (masker === undefined || mask.length === 0) return stamp ?? '';
    return maskedStamp(stamp, masker, (column) => mask.includes(column));
  }
}
