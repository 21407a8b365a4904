import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { counterexample } from '../model/counterexample.js';
import { eventsOf } from '../model/payment-events.js';
import { PaymentWorld } from '../model/payment-world.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const HISTORIES = Number(process.env['RISK_HISTORIES'] ?? 150);
const SEED = Number(process.env['RISK_SEED'] ?? Date.now() % 1_000_000);
/** Histories side by side in one service. */
const LANES_MAX = 500;
const ROUNDS = 6;

let scenario: Scenario;
let world: PaymentWorld;
beforeAll(async () => {
  scenario = await Scenario.open('histories', {
    schema: SCHEMA,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
  });
  await scenario.walhouse.start();
  await scenario.applied();
  world = await PaymentWorld.open(scenario);
});
afterAll(async () => {
  await world.close();
  await scenario.close();
});

describe('the numbers of every window', () => {
  it(`equal SQL on Postgres after random histories, restarts, replays and resyncs (RISK_HISTORIES=${HISTORIES} RISK_SEED=${SEED})`, async () => {
    for (let done = 0; done < HISTORIES; done += LANES_MAX) {
      const lanes = Math.min(LANES_MAX, HISTORIES - done);
      const events = eventsOf({ seed: SEED + done, lanes, rounds: ROUNDS });
      const failure = await world.run(events);
      if (failure !== null) {
        const found = await counterexample(events, failure, (some) => world.run(some));
        expect.fail(
          `RISK_HISTORIES=${HISTORIES} RISK_SEED=${SEED}: ${failure.differences.length} answers differ, first at stop ${failure.stop}. What is left of it:\n${written(found)}`,
        );
      }
    }
    expect(world.withPayments).toBeGreaterThan(HISTORIES);
    await scenario.expectEqual();
  }, 600_000);
});

function written(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}` : part), 1);
}
