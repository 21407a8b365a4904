import type { Event, Operation } from './payment-events.js';
import type { Failure } from './payment-world.js';
import { smaller, TRIES_MAX, type Tries } from './smaller.js';

export interface Counterexample {
  readonly events: readonly Event[];
  readonly failure: Failure;
}

/** Few of the events that failed, and still failing: of one lane where that is enough. `run` says how a list of events fails, if it does. */
export async function counterexample(
  events: readonly Event[],
  failure: Failure,
  run: (events: readonly Event[]) => Promise<Failure | null>,
): Promise<Counterexample> {
  let best: Counterexample = { events, failure };
  const tries: Tries = { left: TRIES_MAX };
  const fails = async (candidate: readonly Event[]): Promise<boolean> => {
    // What goes wrong in another way is not what is looked for.
    const found = await run(candidate).catch(() => null);
    if (found !== null) best = { events: candidate, failure: found };
    return found !== null;
  };
  const started = upTo(events, failure);
  const [lane] = failure.lanes;
  const alone = started.filter((event) => event.kind !== 'transaction' || event.lane === lane);
  await smaller((await fails(alone)) ? alone : started, fails, tries);
  for (let place = 0; place < best.events.length; place += 1) {
    const event = best.events[place]!;
    if (event.kind !== 'transaction') continue;
    const withOperations = (operations: readonly Operation[]) =>
      best.events.with(place, { ...event, operations });
    await smaller(event.operations, (operations) => fails(withOperations(operations)), tries);
  }
  return best;
}

/** Only the question that failed, and nothing that came after it. */
function upTo(events: readonly Event[], { stop, question }: Failure): Event[] {
  let stops = 0;
  const end = events.findIndex((event) => event.kind === 'stop' && stops++ === stop);
  return [
    ...events.slice(0, end).filter(({ kind }) => kind !== 'stop'),
    { kind: 'stop', questions: [question] },
  ];
}
