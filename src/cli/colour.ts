import { styleText } from 'node:util';

export type Mood = 'good' | 'warning' | 'bad';

const COLOURS = { good: 'green', warning: 'yellow', bad: 'red' } as const;

/** On a terminal, unless NO_COLOR says otherwise (https://no-color.org). */
export function isColoured(): boolean {
  return process.stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
}

export function painted(mood: Mood, text: string, coloured: boolean): string {
  // Whether there is a terminal has been looked at.
  return coloured ? styleText(COLOURS[mood], text, { validateStream: false }) : text;
}
