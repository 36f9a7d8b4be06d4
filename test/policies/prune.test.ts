import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CopyPolicy } from '../../policies/policy.ts';
import { type PrunablePoint, planPrune } from '../../policies/prune.ts';
import { policyOf } from './policies.ts';

const day = 86_400_000;
const now = '2026-03-01T12:00:00Z';
const daysAgo = (days: number) => new Date(Date.parse(now) - days * day).toISOString();

/** `server` is pruned after seven days, `west` and `vault` never. */
const copies: CopyPolicy[] = policyOf({
  copies: [
    { kind: 'directory', name: 'server', region: 'us-east-1', path: '/srv/backup', pruneAfter: '7d' },
    { kind: 's3', name: 'west', region: 'us-west-2', bucket: 'west' },
    { kind: 's3', name: 'vault', region: 'eu-west-1', bucket: 'vault' },
  ],
}).copies;

type State = PrunablePoint['copies'][number]['state'];

const point = (pointId: string, ageDays: number, states: Record<string, State> = {}): PrunablePoint => ({
  pointId,
  parent: null,
  level: 'full',
  copies: copies.map(({ name }) => ({
    copy: name,
    state: states[name] ?? 'verified',
    publishedAt: daysAgo(ageDays),
  })),
});

describe('pruning a copy', () => {
  test('removes what is older than its time, once all others hold it verified', () => {
    expect(planPrune(copies, [point('new', 0), point('young', 6), point('old', 8)], now)).toEqual([
      { pointId: 'old', parent: null, copy: 'server', others: ['west', 'vault'] },
    ]);
  });

  test('leaves the newest point of a source, however old', () => {
    expect(planPrune(copies, [point('only', 400)], now)).toEqual([]);
  });

  test.each<[string, Record<string, State>]>([
    ['another copy failed', { vault: 'failed' }],
    ['another copy was pruned', { west: 'pruned' }],
    ['it is not there itself', { server: 'pruned' }],
    ['it was never good', { server: 'failed' }],
  ])('leaves a point when %s', (_what, states) => {
    expect(planPrune(copies, [point('new', 0), point('old', 8, states)], now)).toEqual([]);
  });

  test('leaves a point that another copy of the policy has never had', () => {
    const old = point('old', 8);
    const lacking = { ...old, copies: old.copies.filter((c) => c.copy !== 'vault') };
    expect(planPrune(copies, [point('new', 0), lacking], now)).toEqual([]);
  });

  test('leaves a point of which the store did not say when it came', () => {
    const old = point('old', 8);
    const undated = { ...old, copies: old.copies.map((c) => ({ ...c, publishedAt: null })) };
    expect(planPrune(copies, [point('new', 0), undated], now)).toEqual([]);
  });

  test('leaves a point that is locked there, until it no longer is', () => {
    const old = point('old', 8);
    const locked = (days: number) => ({
      ...old,
      copies: old.copies.map((c) => (c.copy === 'server' ? { ...c, lockedUntil: daysAgo(-days) } : c)),
    });
    expect(planPrune(copies, [point('new', 0), locked(1)], now)).toEqual([]);
    expect(planPrune(copies, [point('new', 0), locked(-1)], now)).toHaveLength(1);
  });

  test('leaves a point that is held', () => {
    expect(planPrune(copies, [point('new', 0), { ...point('old', 8), held: true }], now)).toEqual([]);
  });

  test('goes by when the store got a point, not by the order that points claim', () => {
    const madeUp = point('from-the-future', 9);
    expect(planPrune(copies, [madeUp, point('newest', 8)], now)).toEqual([
      { pointId: 'from-the-future', parent: null, copy: 'server', others: ['west', 'vault'] },
    ]);
  });

  test('never leaves a policy of one copy with none', () => {
    expect(planPrune(copies.slice(0, 1), [point('new', 0), point('old', 8)], now)).toEqual([]);
  });
});

describe('pruning chains', () => {
  const needing = (parent: string, made: PrunablePoint): PrunablePoint => ({ ...made, parent, level: 'incremental' });
  const idsOf = (points: PrunablePoint[]) => planPrune(copies, points, now).map((s) => s.pointId);

  test('leaves what a point needs that stays, and what that needs', () => {
    const chain = [needing('b', point('c', 6)), needing('a', point('b', 20)), point('a', 30)];
    expect(idsOf([point('new', 0), ...chain])).toEqual([]);
  });

  test('removes a chain that is old altogether, what needs another first', () => {
    const chain = [needing('b', point('c', 8)), needing('a', point('b', 20)), point('a', 30)];
    expect(idsOf([point('new', 0), ...chain.toReversed()])).toEqual(['c', 'b', 'a']);
  });

  test('leaves the newest full one, upon which a backup that is under way may build', () => {
    expect(idsOf([needing('a', point('b', 8)), point('a', 30), point('older', 40)])).toEqual(['older']);
  });

  test('leaves what points need that are held or locked there', () => {
    const held = { ...needing('a', point('b', 20)), held: true };
    expect(idsOf([point('new', 0), held, point('a', 30)])).toEqual([]);
  });

  test('does not mind points elsewhere that need it: in this copy they are gone', () => {
    const gone = needing('a', point('b', 20, { server: 'pruned' }));
    expect(idsOf([point('new', 0), gone, point('a', 30)])).toEqual(['a']);
  });

  test('whatever the chains, no step leaves a point there without what it needs', () => {
    const anyPoint = fc.record({
      age: fc.integer({ min: 0, max: 30 }),
      needs: fc.option(fc.nat(30)),
      held: fc.boolean(),
      server: fc.constantFrom<State>('verified', 'pruned'),
    });
    fc.assert(
      fc.property(fc.array(anyPoint, { maxLength: 14 }), (raw) => {
        const sorted = raw.toSorted((a, b) => b.age - a.age);
        const points = sorted.map(({ age, needs, held, server }, i) => {
          const made = { ...point(`p${i}`, age, { server }), held };
          return needs === null || i === 0 ? made : needing(`p${needs % i}`, made);
        });
        const there = new Set(points.filter((p) => p.copies[0]?.state === 'verified').map((p) => p.pointId));
        const broken = () =>
          points.filter((p) => there.has(p.pointId) && p.parent !== null && !there.has(p.parent)).length;
        const before = broken();
        for (const step of planPrune(copies, points.toReversed(), now)) {
          there.delete(step.pointId);
          expect(broken()).toBeLessThanOrEqual(before);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

test('whatever is there: the newest stays, nothing goes that another copy may lack, nothing young goes', () => {
  const state = fc.constantFrom<State>('verified', 'failed', 'pruned');
  const anyPoint = fc.record({ age: fc.integer({ min: 0, max: 30 }), server: state, west: state, vault: state });
  fc.assert(
    fc.property(fc.array(anyPoint, { maxLength: 12 }), (raw) => {
      const points = raw.toSorted((a, b) => a.age - b.age).map(({ age, ...states }, i) => point(`p${i}`, age, states));
      for (const step of planPrune(copies, points, now)) {
        const there = points.find((p) => p.pointId === step.pointId);
        expect(step.pointId).not.toBe('p0');
        expect(step.copy).toBe('server');
        expect(there?.copies.map((c) => c.state)).toEqual(['verified', 'verified', 'verified']);
        expect(Date.parse(there?.copies[0]?.publishedAt ?? '')).toBeLessThanOrEqual(Date.parse(daysAgo(7)));
      }
    }),
  );
});
