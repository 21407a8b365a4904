/** Moments at which a test may have the process killed. */
export const FAILPOINTS = [
  'before_insert',
  'between_tables',
  'after_insert',
  'after_checkpoint',
  'after_confirm',
  'mid_snapshot',
  'before_rows',
  'between_snapshots',
  'after_snapshots',
  'stage_opened',
  'stage_filled',
  'before_switch',
  'between_switches',
  'after_switch',
  'before_checkpoint',
  'before_truncate',
  'before_view',
  'before_mart',
  'while_altering',
  'shown_aside',
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

let armed: { name: Failpoint; passes: number; signal: 'SIGKILL' | 'SIGSTOP' } | null = null;

/** Dies or falls asleep here when a test armed this point; otherwise one comparison with null. */
export function failpoint(name: Failpoint): void {
  if (armed === null || armed.name !== name) return;
  armed.passes -= 1;
  if (armed.passes > 0) return;
  const { signal } = armed;
  armed = null;
  process.kill(process.pid, signal);
}

/**
 * Arms one point: `name` to die there with SIGKILL, `name:3` to die at the third pass, `name:3:stop` to be stopped there with SIGSTOP, until
 * somebody sends SIGCONT. Throws on a name that is none.
 */
export function armFailpoint(spec: string): void {
  const [text, passes = '1', how = 'kill'] = spec.split(':');
  const name = FAILPOINTS.find((known) => known === text);
  if (name === undefined || !/^[1-9][0-9]{0,8}$/.test(passes) || !/^(kill|stop)$/.test(how)) {
    throw new Error(`not a failpoint: ${spec}; there are ${FAILPOINTS.join(', ')}`);
  }
  armed = { name, passes: Number(passes), signal: how === 'kill' ? 'SIGKILL' : 'SIGSTOP' };
}
