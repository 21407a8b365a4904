import type { ColumnType } from '../../pipeline/relation.js';
import { isKnown, ORDERED, type ValueClass } from './compare.js';
import type { Condition, Operand, Operator, Truth } from './condition.js';
import { listOf } from './list.js';
import { tokensOf, type Token } from './tokens.js';

/** What the condition cannot be evaluated for, as the end of `it ...`. */
export class NotEvaluable extends Error {}

const CLASSES: Readonly<Record<string, ValueClass>> = {
  int2: 'number',
  int4: 'number',
  int8: 'number',
  numeric: 'number',
  text: 'text',
  varchar: 'text',
  bpchar: 'padded',
  bool: 'bool',
  uuid: 'uuid',
  date: 'date',
  timestamp: 'timestamp',
  timestamptz: 'timestamptz',
};

/** What a constant's or a cast's type is called there. Casts between numbers and between texts that are listed change no value. */
const CLASS_OF_TYPE: Readonly<Record<string, ValueClass>> = {
  smallint: 'number',
  integer: 'number',
  bigint: 'number',
  numeric: 'number',
  text: 'text',
  'character varying': 'text',
  bpchar: 'padded',
  boolean: 'bool',
  uuid: 'uuid',
  date: 'date',
  'timestamp without time zone': 'timestamp',
  'timestamp with time zone': 'timestamptz',
};
const INTEGERS = ['smallint', 'integer', 'bigint'];
const OPERATORS: ReadonlySet<string> = new Set(['=', '<>', '<', '<=', '>', '>=']);
/** Words that are part of a type's name behind its first. */
const TYPE_WORDS: ReadonlySet<string> = new Set(['varying', 'precision', 'with', 'without', 'time', 'zone']);

/**
 * Reads a condition in Postgres's own printed form, where every operation stands in parentheses and every constant has its type.
 * `columns` are the types of the row's columns, with domains taken off. Throws NotEvaluable for whatever is not known to
 * be evaluated exactly from texts alone.
 */
export function parseCondition(text: string, columns: ReadonlyMap<string, ColumnType>): Condition {
  return new Parser(text, columns).whole();
}

type Found =
  | { readonly condition: Condition }
  | { readonly operand: Operand }
  /** A column whose values are not understood, which can still be null or not. */
  | { readonly opaque: string; readonly type: ColumnType };

class Parser {
  readonly #text: string;
  readonly #columns: ReadonlyMap<string, ColumnType>;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(text: string, columns: ReadonlyMap<string, ColumnType>) {
    this.#text = text;
    this.#columns = columns;
    this.#tokens = tokensOf(text);
  }

  whole(): Condition {
    const condition = this.#asCondition(this.#term());
    if (this.#at < this.#tokens.length) throw this.#unknown();
    return condition;
  }

  /** A constant, a column, or something in parentheses; each with casts behind it. */
  #term(): Found {
    let found: Found;
    if (this.#takes('(')) {
      found = this.#inside();
      this.#expect(')');
    } else found = this.#atom();
    while (this.#takes('::')) found = this.#cast(found, this.#typeName());
    return found;
  }

  #inside(): Found {
    if (this.#takesWord('NOT')) return { condition: { is: 'not', part: this.#asCondition(this.#term()) } };
    const first = this.#term();
    for (const is of ['and', 'or'] as const) {
      const word = is.toUpperCase();
      if (!this.#isWord(word)) continue;
      const parts = [this.#asCondition(first)];
      while (this.#takesWord(word)) parts.push(this.#asCondition(this.#term()));
      return { condition: { is, parts } };
    }
    if (this.#takesWord('IS')) return { condition: this.#test(first) };
    const token = this.#tokens[this.#at];
    if (token?.kind === 'symbol' && OPERATORS.has(token.text)) {
      this.#at += 1;
      return { condition: this.#comparison(first, token.text as Operator) };
    }
    return first;
  }

  #atom(): Found {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw this.#unknown();
    this.#at += 1;
    if (token.kind === 'number') return { operand: { text: token.text, kind: 'number' } };
    if (token.kind === 'string') {
      if (!this.#takes('::')) throw this.#unknown(token);
      return this.#constant(token.text, this.#typeName());
    }
    if (token.kind !== 'name') throw this.#unknown(token);
    if (!token.quoted && (token.text === 'true' || token.text === 'false'))
      return { condition: { is: 'constant', truth: token.text === 'true' ? 1 : 0 } };
    if (!token.quoted && token.text === 'NULL' && this.#takes('::')) return this.#null(this.#typeName());
    const type = this.#columns.get(token.text);
    if (type === undefined || this.#isNext('(')) throw this.#unknown(token);
    const kind = type.kind === 'enum' ? 'label' : type.kind === 'base' ? CLASSES[type.name] : undefined;
    return kind === undefined ? { opaque: token.text, type } : { operand: { column: token.text, kind } };
  }

  #null(type: TypeName): Found {
    if (type.isList) throw this.#unknown();
    const kind = this.#classOf(type);
    return kind === 'bool' ? { condition: { is: 'constant', truth: -1 } } : { operand: { text: null, kind } };
  }

  #constant(text: string, type: TypeName): Found {
    if (type.isList) return { operand: { text, kind: this.#classOf(type) } };
    const kind = this.#classOf(type);
    const value = kind === 'bool' ? { true: 't', false: 'f', t: 't', f: 'f' }[text] : text;
    if (value === undefined || !isKnown(kind, value))
      throw new NotEvaluable(`has a constant of type ${type.text} that is not understood`);
    return { operand: { text: value, kind } };
  }

  /** Only casts that leave a value's text as it is, or comparable as it is. */
  #cast(found: Found, type: TypeName): Found {
    if (!('operand' in found) || !('column' in found.operand)) throw castRefused(type);
    const { column, kind } = found.operand;
    const own = this.#columns.get(column)!;
    const from = bareName(own);
    const widens =
      from === type.text ||
      (kind === 'text' && type.text === 'text') ||
      (kind === 'padded' && type.text === 'bpchar') ||
      (INTEGERS.includes(from) &&
        (type.text === 'numeric' || INTEGERS.indexOf(type.text) > INTEGERS.indexOf(from)));
    if (type.isList || !widens) throw castRefused(type);
    return found;
  }

  #comparison(first: Found, operator: Operator): Condition {
    const left = this.#asOperand(first);
    for (const is of ['any', 'all'] as const) {
      if (!this.#takesWord(is.toUpperCase())) continue;
      this.#expect('(');
      const token = this.#tokens[this.#at];
      this.#at += 1;
      if (token?.kind !== 'string' || !this.#takes('::')) throw this.#unknown(token);
      const type = this.#typeName();
      if (!type.isList) throw this.#unknown(token);
      this.#expect(')');
      const kind = this.#classOf(type);
      this.#requireComparable(left.kind, kind, operator);
      const list = listOf(token.text);
      if (list === null || list.some((text) => text !== null && !isKnown(kind, text)))
        throw new NotEvaluable(`has a list of type ${type.text} that is not understood`);
      return { is, operator, left, list };
    }
    const right = this.#asOperand(this.#term());
    this.#requireComparable(left.kind, right.kind, operator);
    return { is: 'compare', operator, left, right };
  }

  /** What follows IS. */
  #test(first: Found): Condition {
    const negated = this.#takesWord('NOT');
    const negate = (condition: Condition): Condition =>
      negated ? { is: 'not', part: condition } : condition;
    if (this.#takesWord('NULL')) {
      if ('opaque' in first) return negate({ is: 'null', column: first.opaque });
      if ('operand' in first && 'column' in first.operand)
        return negate({ is: 'null', column: first.operand.column });
      throw this.#unknown();
    }
    for (const [word, wanted] of [
      ['TRUE', 1],
      ['FALSE', 0],
      ['UNKNOWN', -1],
    ] as const satisfies readonly (readonly [string, Truth])[]) {
      if (this.#takesWord(word)) return negate({ is: 'truth', part: this.#asCondition(first), wanted });
    }
    if (!this.#takesWord('DISTINCT') || !this.#takesWord('FROM')) throw this.#unknown();
    const left = this.#asOperand(first);
    const right = this.#asOperand(this.#term());
    this.#requireComparable(left.kind, right.kind, '=');
    return negate({ is: 'distinct', left, right });
  }

  #asCondition(found: Found): Condition {
    if ('condition' in found) return found.condition;
    if ('operand' in found && 'column' in found.operand && found.operand.kind === 'bool')
      return { is: 'column', column: found.operand.column };
    throw this.#unknown();
  }

  #asOperand(found: Found): Operand {
    if ('operand' in found) return found.operand;
    if ('opaque' in found) throw new NotEvaluable(`compares ${found.opaque}, which is ${found.type.text}`);
    const { condition } = found;
    if (condition.is === 'constant')
      return { text: { '1': 't', '0': 'f', '-1': null }[condition.truth], kind: 'bool' };
    throw this.#unknown();
  }

  #requireComparable(left: ValueClass, right: ValueClass, operator: Operator): void {
    if (left !== right) throw new NotEvaluable(`compares values of two kinds, ${left} and ${right}`);
    if (operator === '=' || operator === '<>' || ORDERED.has(left)) return;
    throw new NotEvaluable(
      left === 'label'
        ? 'compares labels of an enum by their order'
        : 'compares texts by their order, which depends on the collation',
    );
  }

  #classOf(type: TypeName): ValueClass {
    const kind = CLASS_OF_TYPE[type.text];
    if (kind !== undefined) return kind;
    for (const { kind: columnKind, text } of this.#columns.values())
      if (columnKind === 'enum' && text === type.text) return 'label';
    throw new NotEvaluable(`compares with a constant of type ${type.text}`);
  }

  #typeName(): TypeName {
    let text = '';
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token?.kind !== 'name') throw this.#unknown(token);
      this.#at += 1;
      text += token.quoted ? `"${token.text.replaceAll('"', '""')}"` : token.text;
      if (this.#takes('.')) {
        text += '.';
        continue;
      }
      // A modifier changes values when it is cast to.
      if (this.#isNext('(')) throw new NotEvaluable(`casts to ${text} of a given length`);
      const next = this.#tokens[this.#at];
      if (next?.kind !== 'name' || next.quoted || !TYPE_WORDS.has(next.text)) break;
      text += ' ';
    }
    const isList = this.#takes('[');
    if (isList) this.#expect(']');
    return { text, isList };
  }

  #takes(symbol: string): boolean {
    if (!this.#isNext(symbol)) return false;
    this.#at += 1;
    return true;
  }

  #isNext(symbol: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.kind === 'symbol' && token.text === symbol;
  }

  #expect(symbol: string): void {
    if (!this.#takes(symbol)) throw this.#unknown();
  }

  /** Postgres prints its own words in upper case, and quotes a column that is called like one. */
  #isWord(word: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.kind === 'name' && !token.quoted && token.text === word;
  }

  #takesWord(word: string): boolean {
    if (!this.#isWord(word)) return false;
    this.#at += 1;
    return true;
  }

  #unknown(token = this.#tokens[this.#at]): NotEvaluable {
    const at = token?.at ?? this.#text.length;
    return new NotEvaluable(
      token === undefined
        ? 'ends early'
        : `uses what is not understood, from here on: ${this.#text.slice(at, at + 40)}`,
    );
  }
}

interface TypeName {
  readonly text: string;
  readonly isList: boolean;
}

/** The type's name without its modifier. */
function bareName(type: ColumnType): string {
  return type.text.replace(/\([^)]*\)/, '');
}

function castRefused(type: TypeName): NotEvaluable {
  return new NotEvaluable(`casts to ${type.text}${type.isList ? '[]' : ''}`);
}
