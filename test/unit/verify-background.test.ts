import { afterEach, describe, expect, test } from 'vitest';
import { BackgroundVerify, type BackgroundVerifyOptions } from '../../src/ops/verify/background.js';
import type { Verified } from '../../src/ops/verify/verify.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { HandLog } from './api-fixture.js';

/** As `verify` gives it, as far as it is looked at. */
function verifiedOf(missing: number, inMart = 0): Verified {
  const report = {
    verdict: missing > 0 ? 'different' : 'equal',
    position: '0/10',
    missing,
    extra: 0,
    different: 0,
    complete: true,
    error: null,
  };
  const mart = { missing: 0, extra: inMart, different: 0, error: null };
  return { report: { marts: [mart] }, tables: [{ report, keys: null }], marts: [] } as unknown as Verified;
}

let running: BackgroundVerify | null = null;
afterEach(() => running?.close());

function start(options: Partial<BackgroundVerifyOptions>): { background: BackgroundVerify; log: HandLog } {
  const log = new HandLog();
  const background = new BackgroundVerify({
    everyMs: 5,
    tables: ['public.a', 'public.b'],
    verify: () => Promise.resolve(verifiedOf(0)),
    isFree: () => true,
    log,
    ...options,
  });
  running = background;
  background.start();
  return { background, log };
}

describe('verify in the background', () => {
  test('compares what is asked for, and nothing else where no round is configured', async () => {
    const compared: string[] = [];
    let finish = (): void => {};
    const { background } = start({
      everyMs: null,
      verify: async (table) => {
        compared.push(table);
        await new Promise<void>((resolve) => (finish = resolve));
        return verifiedOf(table === 'public.b' ? 2 : 0);
      },
    });
    expect(background.results.size).toBe(0);
    background.ask(['public.b']);
    expect(background.results.get('public.b')).toMatchObject({ pending: true, at: null });
    await expect.poll(() => compared).toEqual(['public.b']);
    finish();
    await expect.poll(() => background.results.get('public.b')?.pending).toBe(false);
    expect(background.results.get('public.b')).toMatchObject({ verdict: 'different', differences: 2 });
    background.ask(['public.a', 'public.b']);
    await expect.poll(() => compared).toEqual(['public.b', 'public.a']);
    // What was found before stands until something else is.
    expect(background.results.get('public.b')).toMatchObject({ verdict: 'different', pending: true });
    finish();
    await expect.poll(() => compared).toEqual(['public.b', 'public.a', 'public.b']);
    finish();
    await expect.poll(() => background.results.get('public.b')?.pending).toBe(false);
  });

  test('compares one table after another, round after round', async () => {
    const asked: string[] = [];
    let open = 0;
    const { background } = start({
      verify: async (table) => {
        asked.push(table);
        expect((open += 1)).toBe(1);
        await new Promise((resolve) => setImmediate(resolve));
        open -= 1;
        return verifiedOf(0);
      },
    });
    await expect.poll(() => asked.length).toBeGreaterThan(3);
    expect(asked.slice(0, 4)).toEqual(['public.a', 'public.b', 'public.a', 'public.b']);
    expect(background.results.get('public.a')).toMatchObject({
      verdict: 'equal',
      differences: 0,
      error: null,
    });
  });

  test('raises an alarm for drift of a table and of a mart, with the command as a shell takes it', async () => {
    const name = `public.it's "odd"`;
    const { background, log } = start({
      tables: ['public.a', name],
      verify: (table) => Promise.resolve(table === 'public.a' ? verifiedOf(3) : verifiedOf(0, 2)),
    });
    await expect.poll(() => background.results.size).toBe(2);
    expect(background.results.get('public.a')).toMatchObject({ verdict: 'different', differences: 3 });
    expect(background.results.get(name)).toMatchObject({ verdict: 'different', differences: 2 });
    const text = log.lines.join('\n');
    expect(text).toContain('walhouse verify public.a --repair');
    expect(JSON.parse(log.lines.find((line) => line.includes('odd'))!)).toMatchObject({
      message: expect.stringContaining(`walhouse verify 'public.it'\\''s "odd"' --repair`) as string,
    });
  });

  test('keeps what it knew when a comparison fails, and says why nothing newer is known', async () => {
    let fails = false;
    const { background } = start({
      tables: ['public.a'],
      verify: () =>
        fails
          ? Promise.reject(new WalhouseError('sink_timeout', { what: 'Late.', why: 'So.', fix: 'wait' }))
          : Promise.resolve(verifiedOf(3)),
    });
    const result = () => background.results.get('public.a');
    await expect.poll(result).toMatchObject({ verdict: 'different', differences: 3 });
    const { at } = result()!;
    fails = true;
    await expect.poll(result).toMatchObject({ verdict: 'not_compared' });
    expect(result()).toMatchObject({ differences: 3, position: '0/10', error: { kind: 'sink_timeout' } });
    expect(Date.parse(result()!.at!)).toBeGreaterThanOrEqual(Date.parse(at!));
  });

  test('waits while a snapshot runs, and gives a comparison up when one begins', async () => {
    let free = false;
    let looked = 0;
    const signals: AbortSignal[] = [];
    const { background } = start({
      tables: ['public.a'],
      isFree: () => {
        looked += 1;
        return free;
      },
      verify: (_, signal) => {
        signals.push(signal);
        // The first never ends by itself.
        return signals.length === 1 ? new Promise(() => {}) : Promise.resolve(verifiedOf(0));
      },
    });
    await expect.poll(() => looked, { timeout: 3_000 }).toBeGreaterThan(1);
    expect(signals).toEqual([]);
    free = true;
    await expect.poll(() => signals.length, { timeout: 3_000 }).toBe(1);
    free = false;
    await expect.poll(() => signals[0]!.aborted, { timeout: 3_000 }).toBe(true);
    free = true;
    await expect.poll(() => background.results.get('public.a')?.verdict, { timeout: 3_000 }).toBe('equal');
  });

  test('ends at once, whatever is on its way', async () => {
    let asked = 0;
    const { background } = start({
      verify: () => {
        asked += 1;
        return new Promise(() => {});
      },
    });
    await expect.poll(() => asked).toBe(1);
    // What is on its way never ends.
    await background.close();
    expect(background.results.size).toBe(0);
  });
});
