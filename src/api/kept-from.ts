/** How long rows are kept. */
interface Keep {
  readonly count: number;
  readonly unit: 'day' | 'month' | 'year';
}

/** The moment that `keep` reaches back to, by the calendar in UTC; a day that the month does not have becomes its last. */
export function keptFrom(nowMs: number, keep: Keep): number {
  const date = new Date(nowMs);
  if (keep.unit === 'day') return nowMs - keep.count * 86_400_000;
  const months = keep.unit === 'year' ? keep.count * 12 : keep.count;
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() - months);
  const daysOfMonth = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, daysOfMonth));
  return date.getTime();
}
