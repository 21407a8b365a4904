import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import type { DataDirectory } from './data-directory.js';

const HOST = '127.0.0.1';
const PORTS_FILE = 'ports.json';

type PortName = 'http' | 'tcp' | 'postgres';

/** A port on 127.0.0.1 that nobody listens on at this moment. Somebody else may take it before it is used. */
export function freePort(): Promise<number> {
  return listenBriefly(0);
}

/** Fails with `local_port_taken` when a port that was asked for cannot be listened on. */
export async function requireFreePort(port: number, server: string): Promise<number> {
  try {
    return await listenBriefly(port);
  } catch (cause) {
    throw portTaken(port, server, cause);
  }
}

export function portTaken(port: number, server: string, cause?: unknown): WalhouseError {
  const forbidden = (cause as NodeJS.ErrnoException | undefined)?.code === 'EACCES';
  return new WalhouseError('local_port_taken', {
    what: `port ${port} on ${HOST} ${forbidden ? 'may not be used by this user' : 'is taken'}.`,
    why: `${server} was asked to listen there.`,
    fix: 'name another port, or none and a free one is chosen.',
    cause,
  });
}

/**
 * The port that a kept directory's server had last time, so that its URL stays the same, if it is free; otherwise any
 * free one.
 */
export async function usualPort(directory: DataDirectory, name: PortName): Promise<number> {
  const last = directory.temporary ? undefined : rememberedPorts(directory)[name];
  if (last !== undefined) {
    try {
      return await listenBriefly(last);
    } catch {
      // Somebody else has it now.
    }
  }
  return freePort();
}

/** Keeps a kept directory's ports for `usualPort`. */
export function rememberPorts(directory: DataDirectory, ports: Partial<Record<PortName, number>>): void {
  if (!directory.temporary) writeFileSync(join(directory.path, PORTS_FILE), `${JSON.stringify(ports)}\n`);
}

function rememberedPorts(directory: DataDirectory): Partial<Record<PortName, number>> {
  try {
    const ports = JSON.parse(readFileSync(join(directory.path, PORTS_FILE), 'utf8')) as object;
    return Object.fromEntries(Object.entries(ports).filter(([, port]) => Number.isInteger(port)));
  } catch {
    return {};
  }
}

function listenBriefly(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen({ port, host: HOST, exclusive: true }, () => {
      const address = probe.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      probe.close(() => resolve(bound));
    });
  });
}
