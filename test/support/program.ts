/**
 * What Node.js runs as `walhouse`: what was built, where the run of the tests has seen to it that it is current (it starts in a third of the
 * time), otherwise the source as it is now.
 */
export const PROGRAM: readonly string[] =
  process.env['WALHOUSE_TEST_BUILT'] === '1'
    ? ['dist/program/main.js']
    : ['--import', 'tsx', 'src/cli/main.ts'];
