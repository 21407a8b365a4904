import { setTimeout as sleep } from 'node:timers/promises';
import { WalhouseError } from '../../pipeline/errors.js';
import type { StatusDocument } from '../status.js';

/** Where the running service is asked. */
export interface ServiceAddress {
  /** `http://127.0.0.1:8080`. */
  readonly apiUrl: string;
  readonly apiKey: string | undefined;
}

/** What the service says of rows that it repaired. */
export interface RepairAnswer {
  readonly rows: number;
  readonly hidden: number;
  readonly beyond: number;
}

/** Longer than the service itself lets anybody wait. */
const ANSWER_MS = 60_000;
/** How long it is asked again while it says that it cannot now. */
const PATIENCE_MS = 300_000;
const LOOK_MS = 500;

/** One request; null when no service answers. */
export async function callService(
  { apiUrl, apiKey }: ServiceAddress,
  path: string,
  init: { readonly method?: 'POST'; readonly body?: object; readonly timeoutMs?: number } = {},
): Promise<Response | null> {
  try {
    return await fetch(new URL(path, apiUrl), {
      method: init.method ?? 'GET',
      headers: {
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        ...(init.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(init.body === undefined ? {} : { body: JSON.stringify(init.body) }),
      signal: AbortSignal.timeout(init.timeoutMs ?? ANSWER_MS),
    });
  } catch {
    return null;
  }
}

/** A failure for a key that is missing, wrong or has too little scope. */
export function keyRefused({ apiUrl }: ServiceAddress, status: number, scope: string): WalhouseError {
  return new WalhouseError('config_invalid', {
    what: `the service at ${apiUrl} answered ${status}.`,
    why: `It takes a key with the scope ${scope}.`,
    fix: 'put the key into the environment variable that --key-env names (default WALHOUSE_KEY)',
  });
}

/** The running service, as far as repairing goes: it alone stores rows. */
export class RepairService {
  readonly #address: ServiceAddress;

  constructor(address: ServiceAddress) {
    this.#address = address;
  }

  async status(): Promise<StatusDocument> {
    const response = await this.#call('/v1/replication');
    if (!response.ok) throw await this.#refused(response, 'ops:read');
    return (await response.json()) as StatusDocument;
  }

  /** `too_large` for one request; `unreadable` when Postgres cannot have such keys. Asks again while the service cannot now. */
  async repair(
    table: string,
    keys: readonly (readonly string[])[],
  ): Promise<RepairAnswer | 'too_large' | 'unreadable'> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const response = await this.#call(`/v1/tables/${encodeURIComponent(table)}/repair`, {
        method: 'POST',
        body: { keys },
      });
      if (response.ok) return (await response.json()) as RepairAnswer;
      if (response.status === 413) return 'too_large';
      if (response.status === 400) return 'unreadable';
      if (response.status !== 503 || performance.now() > deadline)
        throw await this.#refused(response, 'ops:write');
      await response.body?.cancel();
      await sleep(LOOK_MS);
    }
  }

  /** Has the table copied anew, and waits until the new copy has taken the place of the old. */
  async copy(table: string, onProgress: (done: number, secondsLeft: number | null) => void): Promise<void> {
    const response = await this.#call(`/v1/tables/${encodeURIComponent(table)}/resync`, { method: 'POST' });
    if (!response.ok) throw await this.#refused(response, 'ops:write');
    await response.body?.cancel();
    for (;;) {
      const found = (await this.status()).tables[table];
      if (found?.state === 'streaming') return;
      if (found === undefined || found.state === 'stopped') {
        throw new WalhouseError('repair_interrupted', {
          what: `${table} is ${found?.state ?? 'not followed any more'}${found?.error ? ` (${found.error.what})` : ''}.`,
          why: 'Its new copy was not finished.',
          fix: found?.error?.fix ?? 'walhouse status',
        });
      }
      onProgress((found.snapshot?.percent ?? 0) / 100, found.snapshot?.seconds_left ?? null);
      await sleep(LOOK_MS);
    }
  }

  async #call(path: string, init: Parameters<typeof callService>[2] = {}): Promise<Response> {
    const response = await callService(this.#address, path, init);
    if (response !== null) return response;
    throw new WalhouseError('repair_interrupted', {
      what: `no service answers at ${this.#address.apiUrl}.`,
      why: 'Rows are repaired by the running service, which alone writes to ClickHouse and knows what is on its way.',
      fix: 'walhouse run, and then walhouse verify --repair again; api.listen must be where it listens',
    });
  }

  async #refused(response: Response, scope: string): Promise<WalhouseError> {
    if (response.status === 401 || response.status === 403)
      return keyRefused(this.#address, response.status, scope);
    const problem = (await response.json().catch(() => ({}))) as { detail?: string; fix?: string };
    return new WalhouseError('repair_interrupted', {
      what: `the service answered ${response.status}: ${problem.detail ?? ''}`.trim(),
      why: 'Nothing, or only a part, was repaired.',
      fix: problem.fix ?? 'look at its log',
    });
  }
}
