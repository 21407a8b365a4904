import { rowsReplaced, type Relation } from './relation.js';
import type { Log } from './log.js';
import type { Source, Survey } from './source.js';

/**
 * Looks at the source's catalog every so often, since much of what changes a table leaves no trace in its stream: a rewrite of its
 * rows, a rename, a new comment, a table that can be followed again.
 */
export class CatalogWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #source: Source;
  readonly #log: Log;
  readonly #onChange: (tables: readonly string[]) => void;
  readonly #onHarmless: (relation: Relation) => Promise<void>;
  readonly #before: ReadonlyMap<string, string>;
  readonly #relations: Map<string, Relation>;
  #looking: Promise<void> | null = null;

  constructor(options: {
    source: Source;
    survey: Survey;
    everyMs: number;
    log: Log;
    /** Called with what is not as it was, until the watch is closed. */
    onChange: (tables: readonly string[]) => void;
    /** Called with a table whose stamp is another one, and whose rows are not. */
    onHarmless: (relation: Relation) => Promise<void>;
  }) {
    this.#source = options.source;
    this.#log = options.log;
    this.#onChange = options.onChange;
    this.#onHarmless = options.onHarmless;
    this.#before = looksOf(options.survey);
    this.#relations = new Map(options.survey.relations.map((relation) => [relation.id, relation]));
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = null));
    }, options.everyMs);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      const survey = await this.#source.survey();
      const now = looksOf(survey);
      const changed = [...now].filter(([id, look]) => this.#before.get(id) !== look).map(([id]) => id);
      for (const id of survey.misPublished) if (!changed.includes(id)) changed.push(id);
      const harmless: Relation[] = [];
      for (const relation of survey.relations) {
        const before = this.#relations.get(relation.id);
        if (before === undefined || changed.includes(relation.id)) continue;
        if (rowsReplaced(before.stamp, relation.stamp)) changed.push(relation.id);
        else if (before.stamp !== relation.stamp) harmless.push(relation);
      }
      if (changed.length > 0) {
        this.#onChange(changed);
        return;
      }
      for (const relation of harmless) {
        await this.#onHarmless(relation);
        this.#relations.set(relation.id, relation);
      }
    } catch (error) {
      // The stream notices a source that is away.
      this.#log.debug({ err: error }, 'looking at the catalog failed');
    }
  }
}

/** What matters of each table, as text; of one that cannot be followed, why. */
function looksOf({ relations, problems }: Survey): Map<string, string> {
  const looks = new Map<string, string>();
  for (const relation of relations) looks.set(relation.id, lookOf(relation));
  // Not its fix, which may name what is no concern of this table.
  for (const [id, { kind, what }] of problems) looks.set(id, `${kind}: ${what}`);
  return looks;
}

/** What matters of a table that can be followed, but for its rows. */
export function lookOf(relation: Relation): string {
  return JSON.stringify({ ...relation, stamp: null });
}
