import type { ValueClass } from './compare.js';

export type Operator = '=' | '<>' | '<' | '<=' | '>' | '>=';

/** A column of the row, or a constant's text (null for SQL null). */
export type Operand =
  | { readonly column: string; readonly kind: ValueClass }
  | { readonly text: string | null; readonly kind: ValueClass };

/** A condition on one row that can be evaluated exactly from the texts of its values. */
export type Condition =
  | { readonly is: 'and' | 'or'; readonly parts: readonly Condition[] }
  | { readonly is: 'not'; readonly part: Condition }
  | {
      readonly is: 'compare';
      readonly operator: Operator;
      readonly left: Operand;
      readonly right: Operand;
    }
  /** Null is a value like any other. */
  | { readonly is: 'distinct'; readonly left: Operand; readonly right: Operand }
  /** `left operator ANY (list)`, or ALL. */
  | {
      readonly is: 'any' | 'all';
      readonly operator: Operator;
      readonly left: Operand;
      readonly list: readonly (string | null)[];
    }
  | { readonly is: 'null'; readonly column: string }
  | { readonly is: 'truth'; readonly part: Condition; readonly wanted: Truth }
  | { readonly is: 'column'; readonly column: string }
  | { readonly is: 'constant'; readonly truth: Truth };

/** SQL's three truths: 1 true, 0 false, -1 unknown. */
export type Truth = 1 | 0 | -1;
