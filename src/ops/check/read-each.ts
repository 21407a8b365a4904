import type { ClientBase } from 'pg';
import type { WalhouseError } from '../../pipeline/errors.js';
import type { Relation } from '../../pipeline/relation.js';
import { examineSelected, type Selections } from '../../source/selection.js';

/** Reads every table that can be read, and says of each other one why it cannot. */
export async function readEach(
  client: ClientBase,
  ids: readonly string[],
  selections: Selections = {},
): Promise<Map<string, Relation | WalhouseError>> {
  if (ids.length === 0) return new Map();
  const { relations, problems } = await examineSelected(client, ids, selections);
  return new Map<string, Relation | WalhouseError>([
    ...relations.map((relation) => [relation.id, relation] as const),
    ...problems,
  ]);
}
