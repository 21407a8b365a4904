import { WalhouseError } from './errors.js';

/** One thing that was examined. `level` is error where `run` would stop for it, warning where it may cost something. */
export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly level: 'error' | 'warning';
  /** What was found; never a secret, never a row's value. */
  readonly detail: string;
  /** What to type; null where all is well. */
  readonly fix: string | null;
}

export function passed(name: string, detail: string): Finding {
  return { name, ok: true, level: 'error', detail, fix: null };
}

export function warned(name: string, detail: string, fix: string): Finding {
  return { name, ok: false, level: 'warning', detail, fix };
}

export function refused(name: string, detail: string, fix: string): Finding {
  return { name, ok: false, level: 'error', detail, fix };
}

/** A typed error as a finding; anything else is a mistake of ours and is thrown on. */
export function failedWith(name: string, error: unknown): Finding {
  if (!(error instanceof WalhouseError)) throw error;
  return refused(name, `${error.kind}: ${error.what} ${error.why}`, error.fix);
}
