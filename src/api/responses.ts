import { PROBLEM_TYPE } from './problem.js';
import { ProblemDocument } from './schemas.js';

const MEANINGS = {
  400: 'The request is not valid.',
  401: 'No key, or one that is not known.',
  403: 'The key lacks the scope.',
  404: 'There is no such merchant.',
  409: 'It cannot be done in the state that the service is in.',
  413: 'The body is too large.',
  415: 'The body is not JSON.',
  429: 'Too many requests; Retry-After says when to go on.',
  503: 'No true answer, or none as fresh as asked for, can be given now; Retry-After says when to ask again.',
} as const;

/** The problem documents that a route may answer with, for its OpenAPI entry. */
export function problems(...statuses: (keyof typeof MEANINGS)[]) {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: MEANINGS[status], content: { [PROBLEM_TYPE]: { schema: ProblemDocument } } },
    ]),
  );
}
