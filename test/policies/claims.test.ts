import { expect, test } from '@jest/globals';
import { impossibleClaim } from '../../policies/claims.ts';

const publishedAt = '2026-03-01T12:00:00.000Z';

test.each([
  ['captured before it was published', '2026-03-01T11:00:00Z', null],
  ['captured long before', '2001-03-01T11:00:00Z', null],
  ['captured a little later, by a clock that is ahead', '2026-03-01T12:15:00Z', null],
  [
    'captured later than any clock that is in use',
    '2026-03-01T12:15:01Z',
    expect.stringContaining('2026-03-01T12:15:01Z'),
  ],
])('a point %s', (_what, capturedAt, problem) => {
  expect(impossibleClaim({ capturedAt }, publishedAt)).toEqual(problem);
});
