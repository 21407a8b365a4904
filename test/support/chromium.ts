import { existsSync } from 'node:fs';
import { chromium, type Browser } from 'playwright-core';
import { aptInstallPackages, canUseApt } from '../../src/dev/servers/apt.js';

/** Debian's, and where others put it. */
const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** A headless browser that asks nobody anything but the page it is sent to; installed where it may be, otherwise why there is none. */
export async function openChromium(): Promise<Browser | string> {
  let program = PROGRAMS.find(existsSync);
  if (program === undefined) {
    if (!canUseApt()) return 'there is no Chromium, and only root on Debian could install it';
    const problem = await aptInstallPackages(['chromium']);
    program = PROGRAMS.find(existsSync);
    if (program === undefined) return `there is no Chromium, and apt could not install it: ${problem}`;
  }
  return chromium.launch({
    executablePath: program,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
