import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** What the proxy does to what passes through it. */
export type Weather =
  | 'clear'
  /** New connections are refused and present ones were cut. */
  | 'cut'
  /** Connections stay, and nothing passes through them any more; not even their end, which servers notice by themselves. */
  | 'silent'
  /** What the client says arrives; of the answer nothing does, and then the connection ends. */
  | 'answers_lost'
  /** What the client says is on its way until `deliver`. */
  | 'late';

/**
 * A server ends a session whose client went silent after so long: it asks through keepalives, which every session of ours sets (11 s).
 * To the real server's own the proxy answers itself.
 */
const NOTICED_MS = 12_000;
/** How long a server may work on what has arrived late, before it notices that nobody is there. */
const ANSWERED_MS = 5_000;

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  silenced: boolean;
  /** What is on its way; null where everything arrives at once. */
  held: Buffer[] | null;
}

/** A TCP proxy on loopback in front of a server, which can break in the ways that networks do. */
export class Proxy {
  #target: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #weather: Weather = 'clear';
  #delayMs = 0;
  #answersLost = 0;

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** A proxy in front of the server that `url` names. */
  static async before(url: string): Promise<Proxy> {
    const { hostname, port } = new URL(url);
    const proxy = new Proxy({ host: hostname, port: Number(port) });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** The URL, with the proxy in the server's place. */
  through(url: string): string {
    const changed = new URL(url);
    changed.hostname = '127.0.0.1';
    changed.port = String((this.#server.address() as { port: number }).port);
    return changed.href;
  }

  /** How many answers were swallowed so far. */
  get answersLost(): number {
    return this.#answersLost;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  become(weather: Weather): void {
    this.#weather = weather;
    if (weather === 'cut') this.cut();
    // For good: when the weather clears, it is for new connections.
    if (weather === 'silent') for (const pair of this.#pairs) this.#silence(pair);
    if (weather === 'late') for (const pair of this.#pairs) pair.held ??= [];
  }

  /** The weather clears, clients whose words are on their way give up, and these arrive so much later. */
  deliver(laterMs: number): void {
    this.become('clear');
    for (const pair of this.#pairs) {
      if (pair.held === null) continue;
      pair.client.destroy();
      const bytes = Buffer.concat(pair.held);
      pair.held = [];
      const deliver = (): void => {
        if (pair.server.destroyed) return;
        pair.server.write(bytes);
        // Whoever waits for the rest waits in vain.
        setTimeout(() => pair.server.destroy(), ANSWERED_MS).unref();
      };
      setTimeout(deliver, laterMs).unref();
    }
  }

  /** New connections go to the server that `url` names. */
  redirect(url: string): void {
    const { hostname, port } = new URL(url);
    this.#target = { host: hostname, port: Number(port) };
  }

  /** Everything the client says arrives so much later. */
  delay(ms: number): void {
    this.#delayMs = ms;
  }

  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, 'close');
  }

  #silence(pair: Pair): void {
    if (pair.silenced) return;
    pair.silenced = true;
    setTimeout(() => pair.server.destroy(), NOTICED_MS).unref();
  }

  #accept(client: Socket): void {
    if (this.#weather === 'cut') {
      client.destroy();
      return;
    }
    const server = connect(this.#target);
    const held = this.#weather === 'late' ? [] : null;
    const pair: Pair = { client, server, silenced: false, held };
    this.#pairs.add(pair);
    if (this.#weather === 'silent') this.#silence(pair);
    const end = (): void => {
      if (pair.silenced && this.#server.listening) return;
      // What is on its way arrives without its sender, unless it was cut before.
      if (pair.held !== null && !server.destroyed && this.#server.listening) return;
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', end).on('close', end);
    }
    client.on('data', (bytes) => {
      if (pair.silenced) return;
      if (pair.held !== null) pair.held.push(bytes);
      else if (this.#delayMs === 0) server.write(bytes);
      else setTimeout(() => server.destroyed || server.write(bytes), this.#delayMs);
    });
    client.on('end', () => pair.silenced || pair.held !== null || server.end());
    server.on('data', (bytes) => {
      if (pair.silenced || client.destroyed) return;
      if (this.#weather === 'answers_lost') {
        this.#answersLost += 1;
        end();
      } else client.write(bytes);
    });
    server.on('end', () => pair.silenced || client.end());
  }
}
