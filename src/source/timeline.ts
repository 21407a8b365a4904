import type { Client } from 'pg';
import { lsnFrom, parseLsn, type Lsn } from '../pipeline/lsn.js';

/**
 * Where an earlier timeline ended on the way to the server's own: up to there its WAL is in the server's history. null when it is none
 * of the server's ancestors. Needs a replication connection.
 * Source: the line format of a timeline history file, `parentTLI switchpoint reason` (PostgreSQL, src/backend/access/transam/timeline.c).
 */
export async function timelineEnd(
  replication: Client,
  serverTimeline: number,
  timeline: number,
): Promise<Lsn | null> {
  // The first timeline has no history, and a later one is nobody's ancestor.
  if (timeline >= serverTimeline) return null;
  const { rows } = await replication.query<{ content: Buffer | string }>(
    `TIMELINE_HISTORY ${serverTimeline}`,
  );
  const content = rows[0]?.content ?? '';
  const text = typeof content === 'string' ? textOf(content) : content.toString('utf8');
  for (const line of text.split('\n')) {
    const [parent, switchpoint] = line.trim().split(/\s+/);
    if (Number(parent) !== timeline || switchpoint === undefined || parseLsn(switchpoint) === null) continue;
    return lsnFrom(switchpoint);
  }
  return null;
}

/** Some servers send the file as bytea, in hexadecimal. */
function textOf(content: string): string {
  return content.startsWith('\\x') ? Buffer.from(content.slice(2), 'hex').toString('utf8') : content;
}
