import { defineConfig } from 'vitest/config';

/** Tests in these folders get a Postgres and a ClickHouse of their own run. */
const servers = { globalSetup: ['test/support/global-setup.ts'] };

export default defineConfig({
  test: {
    // Two cores: the servers want one of them.
    maxWorkers: 2,
    teardownTimeout: 30_000,
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], testTimeout: 10_000 },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
          ...servers,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          // Whole services under load, one after another.
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          ...servers,
        },
      },
    ],
  },
});
