import type { Relation } from '../pipeline/relation.js';

/** Why a relation lacks a column that somebody names, as the end of a sentence. */
export function absentColumn(relation: Relation, name: string): string {
  const key = leftOutBy(relation, name);
  return key === null ? `${relation.id} has no such column` : `tables.${relation.id}.${key} leaves it out`;
}

/** How to have the column copied; null where the table has none. */
export function copyToo(relation: Relation, name: string): string | null {
  const key = leftOutBy(relation, name);
  if (key === null) return null;
  return key === 'only'
    ? `add ${name} to tables.${relation.id}.only`
    : `remove ${name} from tables.${relation.id}.exclude`;
}

function leftOutBy({ selection }: Relation, name: string): 'only' | 'exclude' | null {
  if (selection?.names.includes(name) !== true) return null;
  return selection.closed ? 'only' : 'exclude';
}
