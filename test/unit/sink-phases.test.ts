import { describe, expect, it } from 'vitest';
import { Phases } from '../../src/sink/phases.js';

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

describe('a change of phase', () => {
  it('waits for all that is under way, also for what begins inside it, and is waited for', async () => {
    const phases = new Phases();
    const order: string[] = [];
    const gates: (() => void)[] = [];
    const gate = (): Promise<void> => new Promise((resolve) => gates.push(resolve));
    const outer = phases.within(async () => {
      order.push('outer');
      await gate();
      await phases.within(async () => {
        order.push('inner');
        await gate();
      });
    });
    const change = phases.change(async () => {
      order.push('change');
      await gate();
      order.push('changed');
    });
    await turns();
    gates.shift()!();
    await turns();
    expect(order).toEqual(['outer', 'inner']);
    gates.shift()!();
    await outer;
    await turns();
    expect(order.at(-1)).toBe('change');
    const later = phases.within(async () => void order.push('later'));
    const another = phases.change(async () => void order.push('another'));
    await turns();
    expect(order).toEqual(['outer', 'inner', 'change']);
    gates.shift()!();
    await Promise.all([change, later, another, phases.settled()]);
    expect(order.slice(3, 4)).toEqual(['changed']);
    expect(order.slice(4).sort()).toEqual(['another', 'later']);
  });

  it('that fails is over, and so is work that fails', async () => {
    const phases = new Phases();
    const failing = (): Promise<never> => Promise.reject(new Error('no'));
    await expect(phases.change(failing)).rejects.toThrow('no');
    await expect(phases.within(failing)).rejects.toThrow('no');
    expect(await phases.within(() => Promise.resolve(1))).toBe(1);
    await phases.change(() => Promise.resolve());
  });
});
