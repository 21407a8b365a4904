import type { ClientBase } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import type { Relation } from '../../pipeline/relation.js';
import { readRelations } from '../../source/catalog.js';

/**
 * Reads every table that can be read, and says of each other one why it cannot. Asks for all at once and halves what is refused, so
 * that a thousand good tables and one bad one cost twenty questions.
 */
export async function readEach(
  client: ClientBase,
  ids: readonly string[],
): Promise<Map<string, Relation | WalhouseError>> {
  if (ids.length === 0) return new Map();
  try {
    const relations = await readRelations(client, ids);
    return new Map(relations.map((relation) => [relation.id, relation]));
  } catch (error) {
    if (!(error instanceof WalhouseError)) throw error;
    if (ids.length === 1) return new Map([[ids[0]!, error]]);
    const middle = Math.ceil(ids.length / 2);
    const first = await readEach(client, ids.slice(0, middle));
    const second = await readEach(client, ids.slice(middle));
    return new Map([...first, ...second]);
  }
}
