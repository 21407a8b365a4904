import { Attachment, type AttachmentOptions } from './attachment.js';
import { CatalogWatch } from './catalog-watch.js';
import type { WalhouseError } from './errors.js';
import type { Lsn } from './lsn.js';
import type { Progress } from './progress.js';
import type { Relation } from './relation.js';
import { Repairs } from './repairs.js';
import type { Source, SourceIdentity, Survey, Turn } from './source.js';
import { Stages } from './stages.js';
import type { TableReports } from './table-reports.js';
import type { TableFacts } from './take-up.js';

const CATALOG_MS = 2_000;

export interface StreamingOptions extends AttachmentOptions {
  /** How often the source's catalog is looked at for changes. */
  readonly catalogMs?: number;
}

export interface StreamingParts {
  /** Its own from now on, and closed with it. */
  readonly source: Source;
  /** Held until the stream has the slot. */
  readonly turn: Turn;
  readonly survey: Survey;
  readonly relations: readonly Relation[];
  readonly identity: SourceIdentity;
  /** From here on the position is that of whole transactions, in every table. */
  readonly wholeFrom: Lsn;
  /** Tables that were ordered to be copied anew meanwhile; those it takes up are forgotten. */
  readonly ordered: Set<string>;
  readonly tables: TableReports;
  readonly facts: TableFacts;
  readonly progress: Progress;
  readonly now: () => number;
  readonly waitFor: (lsn: Lsn, timeoutMs: number, signal: AbortSignal) => Promise<boolean>;
  readonly onRetry: (error: WalhouseError | null, waitMs: number) => void;
}

/** A stream, with all that goes on beside it: copies and repairs of tables, and the look at the catalog. */
export class Streaming {
  readonly attachment: Attachment;
  readonly stages: Stages;
  readonly repairs: Repairs;
  readonly #parts: StreamingParts;
  readonly #watch: CatalogWatch;
  #again: NodeJS.Timeout | undefined;

  constructor(options: StreamingOptions, parts: StreamingParts) {
    const { source, survey, tables, facts, progress, now, waitFor } = parts;
    const { sink, log } = options;
    this.#parts = parts;
    const attachment = (): Attachment => this.attachment;
    this.stages = new Stages({
      sink,
      source,
      attachment,
      log,
      now,
      waitFor,
      onRetry: (kind) => options.meter?.retried(kind),
      settle: (relation, since) => facts.since.set(relation.id, since),
    });
    this.repairs = new Repairs({
      sink,
      source,
      attachment,
      durable: () => progress.durable,
      waitFor,
      log,
    });
    this.attachment = new Attachment(options, {
      source,
      relations: parts.relations,
      identity: parts.identity,
      wholeFrom: parts.wholeFrom,
      exact: () => tables.exactAt(progress.durable),
      since: ({ id }) => facts.since.get(id) ?? 0n,
      evolutions: ({ id }) => facts.evolutions.get(id) ?? null,
      onStreaming: () => {
        void parts.turn.end();
        this.#stageStale();
      },
      progress,
      now,
      onChange: (relation, operation) => tables.count(relation, operation),
      onRetry: parts.onRetry,
    });
    this.#watch = new CatalogWatch({
      source,
      survey,
      everyMs: options.catalogMs ?? CATALOG_MS,
      log,
      onChange: (changed) => {
        log.info({ tables: changed }, 'the catalog has changed; attaching anew');
        this.leave();
      },
      onHarmless: (relation) => sink.noteStamp(relation),
    });
  }

  /** Resolves once it was left, and rejects with what broke it. */
  run(): Promise<void> {
    return this.attachment.run();
  }

  /** Ends the stream cleanly, which ends `run`. */
  leave(): void {
    this.attachment.leave().catch((error: unknown) => this.attachment.fail(error));
  }

  /** The same after a while. */
  leaveAfter(waitMs: number): void {
    this.#again = setTimeout(() => this.leave(), waitMs);
  }

  async close(): Promise<void> {
    const { turn, source } = this.#parts;
    clearTimeout(this.#again);
    // Who holds or waits inside a stage is let go by the applier's end.
    const working = [this.stages.close(), this.repairs.close()];
    await this.attachment.close();
    await turn.end();
    // A look at the catalog may hang on a silent network; closing the source ends it.
    const watching = this.#watch.close();
    await source.close();
    await Promise.all([watching, ...working]);
  }

  #stageStale(): void {
    const { relations, tables, ordered } = this.#parts;
    for (const relation of relations) {
      const report = tables.of(relation.id);
      const wanted = ordered.delete(relation.id);
      if (report.state === 'waiting' || report.state === 'resyncing' || wanted)
        this.stages.begin({ relation, report, live: report.state !== 'waiting' });
    }
    ordered.clear();
  }
}
