import { createServer } from 'node:net';
import { WalhouseError } from '../../pipeline/errors.js';

const HOST = '127.0.0.1';

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
