import type { ChainedReport, ErasureReport, ReportedTable } from './report.js';

/** One report for a person: what was asked, what was found, what is left, and how to look it up again. */
export function reportText({ number, previous, report, hash }: ChainedReport): string {
  const lines = [
    `report ${number}: ${report.command}, ${report.started_at} to ${report.finished_at}`,
    report.kind === 'retention'
      ? `rows of ${report.database} that were past their retention at ${report.moment} UTC`
      : erasedText(report),
    '',
    ...tableLines(report.tables),
    '',
    report.proven
      ? 'Proven: nothing of it is left. All active parts were read, and every part that was replaced has left the disk.'
      : 'NOT PROVEN: see above what is left, or what could not be read.',
    `hash ${hash}`,
    ...(previous === '' ? [] : [`after ${previous}`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** One line a report. */
export function reportLine({ number, report, hash }: ChainedReport): string {
  const versions = report.tables.reduce((sum, { before }) => sum + before.versions, 0);
  return `${String(number).padStart(5)}  ${report.finished_at}  ${report.kind.padEnd(9)}  ${String(versions).padStart(10)} versions  ${report.proven ? 'proven    ' : 'NOT PROVEN'}  ${hash}`;
}

function erasedText(report: ErasureReport): string {
  const rows = Object.entries(report.rows).map(
    ([table, { erased, kept }]) =>
      `${erased} of ${table}${kept === 0 ? '' : ` (and what ${kept} more were before they went to others)`}`,
  );
  const source = Object.entries(report.in_source).filter(([, count]) => count > 0);
  return [
    `rows: ${rows.join(', ')}; as of ${report.position}`,
    `subject ${report.subject}`,
    ...(source.length === 0
      ? []
      : [
          `the source still had ${source.map(([table, count]) => `${count} of ${table}`).join(', ')}: they come back with their next change or a resync`,
        ]),
  ].join('\n');
}

function tableLines(tables: readonly ReportedTable[]): string[] {
  if (tables.length === 0) return ['no table holds such rows'];
  const width = Math.max(...tables.map(({ name }) => name.length), 5);
  const row = (name: string, kind: string, ...cells: string[]): string =>
    `${name.padEnd(width)}  ${kind.padEnd(10)}  ${cells.map((cell) => cell.padStart(15)).join('  ')}`;
  const lines = [row('table', 'kind', 'versions before', 'unread parts', 'versions after', 'detached')];
  for (const { name, kind, before, after, unproven } of tables) {
    const { versions, inactive_parts: inactive } = before;
    lines.push(row(name, kind, ...[versions, inactive, after.versions, after.detached_parts].map(String)));
    if (unproven !== null) lines.push(`  not proven: ${unproven}`);
    if (after.detached_parts > 0)
      lines.push(
        '  not proven: detached parts cannot be read; drop them (ALTER TABLE ... DROP DETACHED PART)',
      );
  }
  return lines;
}
