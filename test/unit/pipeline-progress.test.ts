import { describe, expect, it } from 'vitest';
import { formatLsn, parseLsn } from '../../src/pipeline/lsn.js';
import { Progress } from '../../src/pipeline/progress.js';
import { snapshotVersion, versionBound } from '../../src/pipeline/version.js';

describe('progress', () => {
  it('wakes a waiter when its position is durable, and not before', async () => {
    const progress = new Progress(() => 0);
    let reached: boolean | null = null;
    const waiting = progress.waitFor(100n, 1000).then((value) => (reached = value));
    progress.advance(99n, null);
    await Promise.resolve();
    expect(reached).toBeNull();
    progress.advance(100n, null);
    await waiting;
    expect(reached).toBe(true);
  });

  it('lets a waiter go unsatisfied when its time is over', async () => {
    expect(await new Progress(() => 0).waitFor(100n, 1)).toBe(false);
  });

  it('never goes back', () => {
    const progress = new Progress(() => 0);
    progress.advance(100n, null);
    progress.advance(50n, null);
    expect(progress.durable).toBe(100n);
  });

  it('knows no lag before it knows anything', () => {
    expect(new Progress(() => 0).lagMs).toBeNull();
  });

  it('counts the age of an answer from a sighting only once that position is durable', () => {
    let now = 1_000;
    const progress = new Progress(() => now);
    progress.advance(100n, 400_000n);
    expect(progress.lagMs).toBe(600);
    progress.sighted(200n, 1_000);
    now = 1_500;
    expect(progress.lagMs).toBe(1_100);
    progress.advance(200n, null);
    expect(progress.lagMs).toBe(500);
    expect(progress.lagBytes).toBe(0n);
  });
});

describe('a WAL position', () => {
  it('reads and writes as Postgres does', () => {
    for (const text of ['0/0', '0/16B3748', 'FFFFFFFF/FFFFFFFF', '1A/0']) {
      expect(formatLsn(parseLsn(text)!)).toBe(text);
    }
    for (const text of ['', '0', '0/', '/0', '0/G', '123456789/0', ' 0/0', '0/0 ']) {
      expect(parseLsn(text)).toBeNull();
    }
  });

  it('bounds versions so that a snapshot is below every commit at its consistent point, and visible from there', () => {
    expect(snapshotVersion(800n)).toBeLessThan(versionBound(800n));
    expect(snapshotVersion(800n)).toBeGreaterThan(versionBound(792n) + 999_999_999_999n);
  });
});
