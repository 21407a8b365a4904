import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';
import type { Authority, Certificate } from './certificates.js';

/**
 * TLS in front of a server that has none of its own, as a load balancer does it: the engine that the tests run listens in the clear
 * alone. It lets nobody in without a certificate of the authority.
 */
export class TlsFront {
  readonly #sockets = new Set<Socket>();
  readonly #server;
  /** The beginning of what passed through, in the clear, since the last look. */
  #passed = '';

  private constructor(target: URL, options: TlsOptions) {
    this.#server = createServer(options, (client) => {
      const server = connect(Number(target.port), target.hostname);
      client.on(
        'data',
        (bytes: Buffer) => (this.#passed = (this.#passed + bytes.toString('latin1')).slice(0, 4096)),
      );
      for (const socket of [client, server]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          client.destroy();
          server.destroy();
          this.#sockets.delete(socket);
        });
      }
      client.pipe(server).pipe(client);
    });
    this.#server.on('tlsClientError', () => undefined);
  }

  static async before(url: string, { cert, key }: Certificate, { ca }: Authority): Promise<TlsFront> {
    const front = new TlsFront(new URL(url), {
      cert: readFileSync(cert),
      key: readFileSync(key),
      ca: readFileSync(ca),
      requestCert: true,
      rejectUnauthorized: true,
    });
    front.#server.listen(0, '127.0.0.1');
    await once(front.#server, 'listening');
    return front;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  takePassed(): string {
    const passed = this.#passed;
    this.#passed = '';
    return passed;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
