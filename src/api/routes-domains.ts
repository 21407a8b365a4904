import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import type { DomainPage, Picture } from '../ops/pictures.js';
import { formatLsn } from '../pipeline/lsn.js';
import type { Span } from '../pipeline/tracer.js';
import type { ApiEnv } from './context.js';
import { within } from './deadline.js';
import type { Guard } from './guard.js';
import type { Positions } from './positions.js';
import { Problem } from './problem.js';
import { problems } from './responses.js';
import { DomainAnswer, DomainList } from './schemas.js';

/** What ClickHouse answered to a picture's question; numbers as text, so that none loses a digit. */
export interface PictureAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly (readonly unknown[])[];
}

export interface Pictures {
  readonly pages: readonly DomainPage[];
  /** Rejects with a Problem where there is no answer. */
  ask(picture: Picture, signal: AbortSignal, span?: Span | null): Promise<PictureAnswer>;
}

/** Several people who look at the same page ask ClickHouse once in this time. */
const FRESH_MS = 1_000;

/** `GET /v1/domains` and `GET /v1/domains/{name}`: what the domains' pages show, for whoever wants to draw it otherwise. */
export function addDomainRoutes(
  app: OpenAPIHono<ApiEnv>,
  options: {
    readonly pictures: Pictures;
    readonly positions: Positions;
    readonly guard: Guard;
    readonly now: () => number;
    readonly deadlineMs: number;
  },
): void {
  const { pictures, positions, guard, now, deadlineMs } = options;
  const list = createRoute({
    method: 'get',
    tags: ['Domains'],
    path: '/v1/domains',
    operationId: 'domains',
    summary: 'The domains whose marts are kept',
    ...guard.needs('ops:read'),
    responses: {
      200: { description: 'The domains.', content: { 'application/json': { schema: DomainList } } },
      ...problems(401, 403, 429),
    },
  });
  app.openapi(list, (context) =>
    context.json(
      { domains: pictures.pages.map(({ name, title, question }) => ({ name, title, question })) },
      200,
    ),
  );

  const kept = new Map<
    string,
    { readonly atMs: number; readonly answer: Promise<z.input<typeof DomainAnswer>> }
  >();
  const answerOf = async (page: DomainPage, span: Span | null): Promise<z.input<typeof DomainAnswer>> => {
    // Known before the questions are asked, so the answers are of this position or a later one.
    const applied = positions.applied();
    // Whoever asked first may go; others wait for the same answer.
    const answers = await within(deadlineMs, null, (signal) =>
      Promise.all(page.pictures.map((picture) => pictures.ask(picture, signal, span))),
    );
    return {
      name: page.name,
      title: page.title,
      question: page.question,
      at_least: applied === null ? null : { lsn: formatLsn(applied.lsn) },
      pictures: page.pictures.map(({ id, title, shows, x, y, unit }, index) => ({
        id,
        title,
        shows,
        x,
        y: [...y],
        unit,
        columns: answers[index]!.columns.map((column) => ({ ...column })),
        rows: answers[index]!.rows.map((row) => [...row]),
      })),
    };
  };

  const one = createRoute({
    method: 'get',
    tags: ['Domains'],
    path: '/v1/domains/{name}',
    operationId: 'domain',
    summary: 'What the page of a domain shows',
    description:
      'Each picture with its rows, at the position `at_least` or a later one. Numbers are text. Answers are at most a second old.',
    ...guard.needs('ops:read'),
    request: { params: z.object({ name: z.string().min(1).max(100) }) },
    responses: {
      200: { description: 'The pictures.', content: { 'application/json': { schema: DomainAnswer } } },
      ...problems(400, 401, 403, 404, 429, 503),
    },
  });
  app.openapi(one, async (context) => {
    const { name } = context.req.valid('param');
    const page = pictures.pages.find((known) => known.name === name);
    if (page === undefined) throw unknownDomain(name, pictures.pages);
    const before = kept.get(name);
    if (before !== undefined && now() - before.atMs < FRESH_MS) return context.json(await before.answer, 200);
    const answer = answerOf(page, context.get('span'));
    kept.set(name, { atMs: now(), answer });
    answer.catch(() => kept.delete(name));
    return context.json(await answer, 200);
  });
}

function unknownDomain(name: string, pages: readonly DomainPage[]): Problem {
  return new Problem({
    status: 404,
    kind: 'domain_unknown',
    title: 'No such domain',
    detail: `The marts of "${name}" are not kept here.`,
    fix:
      pages.length === 0
        ? 'add a domain to marts in walhouse.yaml'
        : `take one of ${pages.map((page) => page.name).join(', ')}, or add it to marts in walhouse.yaml`,
  });
}
