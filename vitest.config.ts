import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Begun first, so that nothing long is left for one core at the end. */
const LONG = [
  'chaos',
  'table-stops',
  'schema-changes',
  'table-set',
  'domains',
  'crash',
  'row-changes',
  'resync',
  'repair',
  'erase',
  'risk-histories',
  'retention',
  'sink-retention',
];

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const place = LONG.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

/** Loading the same modules anew for each file would take a tenth of the cores' time; none of them keeps anything between files. */
const together = { isolate: false };

/** Tests in these folders get a Postgres and a ClickHouse of their own run. */
const servers = { globalSetup: ['test/support/global-setup.ts'] };

export default defineConfig({
  test: {
    // For two cores: most of a test's time is waiting for servers, which want the cores.
    maxWorkers: 3,
    teardownTimeout: 30_000,
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 60_000, ...together },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          ...servers,
          ...together,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          ...servers,
          ...together,
        },
      },
    ],
  },
});
