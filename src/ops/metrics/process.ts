import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** Milliseconds between two looks at how late timers are. */
const EVENT_LOOP_MS = 20;

/** Which release this is, and what Node says of the process: memory, CPU, garbage collection, how late the event loop is. */
export function addProcessMetrics(registry: Registry, version: string): void {
  new Gauge({
    name: 'walhouse_build_info',
    help: '1; the release is in its label.',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version }, 1);
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_MS });
}
