import { once } from 'node:events';
import {
  createServer,
  request as send,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
} from 'node:http';
import { expect } from 'vitest';

interface Sent {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * A way to ClickHouse on which whatever is written there arrives again and again, as a request may do once whose sender has given up on its
 * answer: inserts that hold a text after everything that is written later, definitions after what is written since `beginAnew`. What is sent in nobody's name
 * arrives once.
 */
export class LateNetwork {
  /** How many arrived again, and were stored or refused. */
  readonly again = { accepted: 0, refused: 0 };
  /** Claims do not arrive until `claimAgain`. */
  holdsClaims = false;
  readonly #target: URL;
  readonly #text: string;
  readonly #server: Server;
  readonly #claims: Sent[] = [];
  readonly #inserts: Sent[] = [];
  readonly #definitions: Sent[] = [];
  #earlier: readonly Sent[] = [];
  #losesAnswer = false;
  /** One after the other, so that nothing arrives in between. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(url: string, text: string) {
    this.#target = new URL(url);
    this.#text = text;
    this.#server = createServer((incoming, outgoing) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('end', () => {
        const { url: path = '/', headers } = incoming;
        this.#turn = this.#turn
          .then(() => this.#pass({ path, headers, body: Buffer.concat(chunks) }))
          .then(
            (answer) => outgoing.writeHead(answer.status, answer.headers).end(answer.body),
            () => outgoing.destroy(),
          );
      });
    });
  }

  static async before(url: string, text: string): Promise<LateNetwork> {
    const network = new LateNetwork(url, text);
    network.#server.listen(0, '127.0.0.1');
    await once(network.#server, 'listening');
    return network;
  }

  /** The same server's URL, on this way. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
    return url.href;
  }

  /** The answer to what is written next is lost. */
  loseAnswer(): void {
    this.#losesAnswer = true;
  }

  beginAnew(): void {
    this.#earlier = [...this.#definitions];
  }

  /** The claims that were made so far arrive again. */
  async claimAgain(): Promise<void> {
    for (const claim of this.#claims) expect((await this.#send(claim)).status).toBe(200);
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #pass(sent: Sent): Promise<Answer> {
    const claims = /^insert into \S+_walhouse_owner`? /.test(sent.body.toString());
    if (claims) this.#claims.push(sent);
    if (claims && this.holdsClaims) throw new Error('held');
    const answer = await this.#send(sent);
    const params = new URL(sent.path, this.#target).searchParams;
    if (params.get('query_id')?.startsWith('walhouse-') !== true) return answer;
    await Promise.all(
      [...this.#inserts, ...this.#earlier].map(async (late) => {
        const { status } = await this.#send(late);
        this.again[status === 200 ? 'accepted' : 'refused'] += 1;
      }),
    );
    if (!/^insert /i.test(params.get('query') ?? '')) this.#definitions.push(sent);
    else if (sent.body.includes(this.#text)) this.#inserts.push(sent);
    if (!this.#losesAnswer) return answer;
    this.#losesAnswer = false;
    throw new Error('lost');
  }

  async #send({ path, headers, body }: Sent): Promise<Answer> {
    const { hostname, port } = this.#target;
    const request = send({ hostname, port, path, method: 'POST', headers: { ...headers, host: hostname } });
    request.end(body);
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) };
  }
}
