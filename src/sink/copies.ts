import type { MartStage } from './mart-stage.js';
import type { TablePlan } from './plan.js';
import type { Stage } from './stage.js';

/** A copy that is being made, with the marts on it. */
export interface Staged {
  readonly stage: Stage;
  readonly marts: readonly MartStage[];
}

/** The copies of each table, by its id, and so where its rows go. */
export class Copies {
  readonly staged = new Map<string, Staged>();
  /** Those that people read. */
  readonly complete = new Map<string, TablePlan>();
  readonly #lives = new Map<string, number>();
  #lastLife = 0;

  /** Another process may have written meanwhile. */
  forget(): void {
    this.staged.clear();
    this.complete.clear();
  }

  stage(id: string): Stage | undefined {
    return this.staged.get(id)?.stage;
  }

  /** The copy of a table that people read is another one from now on. */
  begins(id: string): void {
    this.#lives.set(id, ++this.#lastLife);
  }

  /** Tells the copies that people read one after the other apart; 0 before the first. */
  life(id: string): number {
    return this.#lives.get(id) ?? 0;
  }

  /** Where the rows of a table go now: what people read, the stage beside it, or both. */
  of(plan: TablePlan): TablePlan[] {
    const stage = this.stage(plan.id);
    // Neither: its stage is yet to be opened, and the snapshot that follows has what comes until then.
    if (stage === undefined) return this.complete.has(plan.id) ? [plan] : [];
    return stage.live ? [plan, stage.staged] : [stage.staged];
  }

  /** Where its history goes: a live stage has none of its own. */
  historyOf(plan: TablePlan): TablePlan[] {
    return plan.history ? this.of(plan).slice(0, 1) : [];
  }
}
