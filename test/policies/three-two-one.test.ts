import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judge321, type RuleCopy } from '../../policies/three-two-one.ts';

const copy = (name: string, more: Partial<RuleCopy> = {}): RuleCopy => ({
  name,
  region: 'us-east-1',
  medium: 'disk',
  encrypted: true,
  verified: true,
  ...more,
});
const offsite = (name: string, more: Partial<RuleCopy> = {}) =>
  copy(name, { region: 'us-west-2', medium: 'object-storage', ...more });
const judge = (...copies: RuleCopy[]) => judge321({ siteRegion: 'us-east-1', production: { medium: 'disk' }, copies });

describe('the 3-2-1 rule', () => {
  test('is kept by a disk here and a bucket far away, with production as the third copy', () => {
    expect(judge(copy('server'), offsite('west'))).toEqual({
      satisfied: true,
      copies: 3,
      media: ['disk', 'object-storage'],
      offsiteRegions: ['us-west-2'],
      encrypted: true,
      breaches: [],
    });
  });

  test.each([
    ['one copy only', [offsite('west')], '2 of 3 copies: there is only production and west'],
    [
      'a copy that could not be verified',
      [copy('server'), offsite('west', { verified: false })],
      '2 of 3 copies: there is only production and server; west could not be verified',
    ],
    ['one medium', [copy('server'), copy('far', { region: 'us-west-2' })], '1 of 2 media: everything lies on disk'],
    [
      'everything in one region',
      [copy('server'), copy('bucket', { medium: 'object-storage' })],
      'no copy off-site: none is planned outside us-east-1, where production runs',
    ],
    [
      'nothing off-site but what could not be verified',
      [copy('server'), copy('bucket', { medium: 'object-storage' }), offsite('west', { verified: false })],
      'no copy off-site: of those outside us-east-1, west could not be verified',
    ],
    [
      'a copy that is not encrypted',
      [copy('server', { encrypted: false }), offsite('west')],
      'not encrypted with AES-256: server',
    ],
  ])('is breached by %s, and says by what', (_what, copies, breach) => {
    const verdict = judge(...copies);
    expect(verdict.satisfied).toBe(false);
    expect(verdict.breaches).toContain(breach);
  });

  test('names every breach there is, not only the first', () => {
    expect(judge().breaches).toHaveLength(3);
  });

  test('takes regions for the same that differ in case and spaces only', () => {
    expect(judge(copy('server'), offsite('bucket', { region: ' US-East-1 ' })).satisfied).toBe(false);
  });
});

const anyCopy = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  region: fc.constantFrom('us-east-1', 'us-west-2', 'eu-west-1'),
  medium: fc.constantFrom('disk', 'object-storage', 'tape'),
  encrypted: fc.boolean(),
  verified: fc.boolean(),
});
const anyCopies = fc.array(anyCopy, { maxLength: 5 });

describe('whatever the copies', () => {
  test('the verdict is the rule, counted anew', () => {
    fc.assert(
      fc.property(anyCopies, (copies) => {
        const good = copies.filter((c) => c.verified);
        const kept =
          good.length >= 2 &&
          new Set(['disk', ...good.map((c) => c.medium)]).size >= 2 &&
          good.some((c) => c.region !== 'us-east-1') &&
          good.every((c) => c.encrypted);
        expect(judge(...copies).satisfied).toBe(kept);
      }),
    );
  });

  test('one that could not be verified never helps', () => {
    fc.assert(
      fc.property(anyCopies, anyCopy, (copies, more) => {
        const before = judge(...copies);
        expect(judge(...copies, { ...more, verified: false }).satisfied).toBe(before.satisfied);
      }),
    );
  });

  test('one more that is verified and encrypted never hurts', () => {
    fc.assert(
      fc.property(anyCopies, anyCopy, (copies, more) => {
        fc.pre(judge(...copies).satisfied);
        expect(judge(...copies, { ...more, verified: true, encrypted: true }).satisfied).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
});
