import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { endsWithin } from '../../src/pipeline/backoff.js';

describe('waiting for something no longer than a while', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('ends with it, and nothing keeps the process from ending then', async () => {
    expect(await endsWithin(2_000, Promise.resolve('done'))).toBe(true);
    await expect(endsWithin(2_000, Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ends without it', async () => {
    const waited = endsWithin(2_000, new Promise(() => undefined));
    await vi.advanceTimersByTimeAsync(2_000);
    expect(await waited).toBe(false);
    expect(vi.getTimerCount()).toBe(0);
  });
});
