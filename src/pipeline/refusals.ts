import { WalhouseError } from './errors.js';
import { formatLsn, type Lsn } from './lsn.js';
import type { Checkpoint } from './sink.js';
import type { Source, SourceIdentity } from './source.js';

/** What an attachment is refused for, before anything is read: each would end in a gap or in two writers. */

export function refuseOtherCluster(checkpoint: Checkpoint | null, identity: SourceIdentity): void {
  if (checkpoint === null) return;
  const before = checkpoint.identity;
  if (before.systemIdentifier === identity.systemIdentifier && before.database === identity.database) return;
  throw new WalhouseError('source_cluster_changed', {
    what: `the source is cluster ${identity.systemIdentifier}, database ${identity.database}; what is stored came from cluster ${before.systemIdentifier}, database ${before.database}.`,
    why: 'Positions of one cluster mean nothing in another, so changes would be lost or mixed.',
    fix: 'point source.url at the former cluster, or run walhouse resync --all to begin again with this one',
  });
}

/**
 * After a promotion or a restore the source may lack WAL that was applied, and later write other transactions at the same positions: what
 * is stored would be of two histories, and the newer one would seem to be older.
 */
export async function refuseForkedTimeline(
  source: Source,
  checkpoint: Checkpoint | null,
  identity: SourceIdentity,
): Promise<void> {
  if (checkpoint === null) return;
  const { appliedLsn, identity: before } = checkpoint;
  const applied = formatLsn(appliedLsn);
  const forked = (what: string): WalhouseError =>
    new WalhouseError('source_timeline_forked', {
      what,
      why: 'What was applied beyond that may never have happened there, and other changes may have the same positions.',
      fix: 'point source.url at the server that has it, or run walhouse resync --all to begin again with this one',
    });
  if (identity.timeline !== before.timeline) {
    const end = await source.timelineEnd(before.timeline);
    if (end === null) {
      throw forked(
        `the source is on timeline ${identity.timeline}, which does not come from timeline ${before.timeline}, of which ${applied} was applied.`,
      );
    }
    if (end < appliedLsn) {
      throw forked(
        `the source left timeline ${before.timeline} at ${formatLsn(end)}, and ${applied} of it was applied.`,
      );
    }
  }
  const ends = await source.endLsn();
  if (ends === null || ends >= appliedLsn) return;
  throw forked(`the source's WAL ends at ${formatLsn(ends)}, and ${applied} was applied.`);
}

/** `confirmedLsn`: where the slot stands; null when there is none. */
export function refuseGap(slot: string, checkpoint: Checkpoint, confirmedLsn: Lsn | null): void {
  if (confirmedLsn === null) {
    throw new WalhouseError('slot_missing', {
      what: `replication slot "${slot}" does not exist on ${checkpoint.identity.database}.`,
      why: `Changes since ${formatLsn(checkpoint.appliedLsn)} can no longer be read.`,
      fix: 'walhouse resync --all',
    });
  }
  if (confirmedLsn > checkpoint.appliedLsn) {
    throw new WalhouseError('slot_ahead', {
      what: `replication slot "${slot}" stands at ${formatLsn(confirmedLsn)}, ahead of what is stored, ${formatLsn(checkpoint.appliedLsn)}.`,
      why: 'It was made anew or moved by somebody else; the changes between can no longer be read.',
      fix: 'walhouse resync --all',
    });
  }
}
