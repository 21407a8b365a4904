import { COMPARE, isKnown, type ValueClass } from './compare.js';
import type { Condition, Operand, Operator, Truth } from './condition.js';

/** A value's text as a binary string, one character a byte; null for SQL null. */
type Value = string | null;
/** Gives the value of a column of the row in question. */
export type ReadColumn = (column: string) => Value;
export type Evaluate = (read: ReadColumn) => Truth;

/** A value was not in the form in which its type is printed, so nothing can be said of it. Does not hold the value. */
export class UnknownForm extends Error {
  readonly column: string;

  constructor(column: string) {
    super(`a value of ${column} is not as Postgres prints it`);
    this.column = column;
  }
}

/** Makes a function of a condition: what SQL says of one row. Throws UnknownForm where a value cannot be understood. */
export function compile(condition: Condition): Evaluate {
  switch (condition.is) {
    case 'and':
      return both(condition.parts.map(compile), 0);
    case 'or':
      return both(condition.parts.map(compile), 1);
    case 'not': {
      const part = compile(condition.part);
      return (read) => not(part(read));
    }
    case 'compare':
      return comparison(condition.operator, condition.left, condition.right);
    case 'distinct':
      return distinct(condition.left, condition.right);
    case 'any':
    case 'all': {
      const { left, operator, list } = condition;
      const parts = list.map((text) => comparison(operator, left, { text, kind: left.kind }));
      return both(parts, condition.is === 'any' ? 1 : 0);
    }
    case 'null': {
      const { column } = condition;
      return (read) => truth(read(column) === null);
    }
    case 'truth': {
      const part = compile(condition.part);
      const { wanted } = condition;
      return (read) => truth(part(read) === wanted);
    }
    case 'column': {
      const value = valueOf({ column: condition.column, kind: 'bool' });
      return (read) => {
        const text = value(read);
        return text === null ? -1 : truth(text === 't');
      };
    }
    case 'constant': {
      const { truth: constant } = condition;
      return () => constant;
    }
  }
}

/** AND where `decisive` is 0, OR where it is 1. */
function both(parts: readonly Evaluate[], decisive: 0 | 1): Evaluate {
  return (read) => {
    let result: Truth = decisive === 1 ? 0 : 1;
    for (const part of parts) {
      const found = part(read);
      if (found === decisive) return decisive;
      if (found === -1) result = -1;
    }
    return result;
  };
}

function not(found: Truth): Truth {
  if (found === -1) return -1;
  return found === 1 ? 0 : 1;
}

function truth(is: boolean): Truth {
  return is ? 1 : 0;
}

const HOLDS: Readonly<Record<Operator, (order: number) => boolean>> = {
  '=': (order) => order === 0,
  '<>': (order) => order !== 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

function comparison(operator: Operator, left: Operand, right: Operand): Evaluate {
  const a = valueOf(left);
  const b = valueOf(right);
  const compare = COMPARE[left.kind];
  const holds = HOLDS[operator];
  return (read) => {
    const first = a(read);
    const second = b(read);
    return first === null || second === null ? -1 : truth(holds(compare(first, second)));
  };
}

function distinct(left: Operand, right: Operand): Evaluate {
  const a = valueOf(left);
  const b = valueOf(right);
  const compare = COMPARE[left.kind];
  return (read) => {
    const first = a(read);
    const second = b(read);
    if (first === null || second === null) return truth(first !== second);
    return truth(compare(first, second) !== 0);
  };
}

function valueOf(operand: Operand): (read: ReadColumn) => Value {
  if (!('column' in operand)) {
    const constant = operand.text === null ? null : Buffer.from(operand.text).toString('latin1');
    return () => constant;
  }
  const { column, kind } = operand;
  return (read) => checked(column, kind, read(column));
}

function checked(column: string, kind: ValueClass, text: Value): Value {
  if (text === null || isKnown(kind, text)) return text;
  throw new UnknownForm(column);
}
