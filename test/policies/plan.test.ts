import { describe, expect, test } from '@jest/globals';
import { type PlanRequest, planBackup, sourceHours, sourcePolicy } from '../../policies/plan.ts';
import type { Policy } from '../../policies/policy.ts';
import { chainPoint } from './chain-points.ts';
import { policyOf } from './policies.ts';

const policy = policyOf({
  sources: [
    { kind: 'files', name: 'documents', host: 'files1', path: '/srv/documents', priority: 70 },
    {
      kind: 'postgres-logical',
      name: 'shop',
      critical: true,
      connection: { host: 'db', database: 'shop', user: 'backup' },
    },
  ],
});

const request = (more: Partial<PlanRequest> = {}): PlanRequest => ({
  source: 'documents',
  level: 'full',
  classes: ['manual'],
  now: '2026-03-01T02:00:00.123Z',
  random: 'k3x9qa',
  points: [],
  ...more,
});

test('waits for the hours of its source, unless a person wants it now', () => {
  const night: Policy = {
    ...policy,
    sources: policy.sources.map((s) => ({
      ...s,
      windows: [{ from: '22:00', to: '06:00', days: ['sunday', 'monday'] }],
    })),
  };
  // A Sunday.
  const noon = request({ now: '2026-03-01T12:00:00Z' });
  expect(planBackup(night, noon).waitUntil).toBe('2026-03-01T22:00:00.000Z');
  expect(planBackup(night, { ...noon, anytime: true }).waitUntil).toBeUndefined();
  const evening = request({ now: '2026-03-01T22:00:00Z' });
  expect(planBackup(night, evening).waitUntil).toBeUndefined();
  // Its hours of Sunday end at six in the morning, those of Monday begin only in the evening.
  expect(planBackup(night, evening).closesAt).toBe('2026-03-02T06:00:00.000Z');
  expect(planBackup(night, { ...evening, anytime: true }).closesAt).toBeUndefined();
  expect(planBackup(policy, evening).closesAt).toBeUndefined();
  expect(planBackup({ ...night, sources: night.sources.map((s) => ({ ...s, critical: true })) }, noon)).toHaveProperty(
    'waitUntil',
  );
});

test('keeps no hours of a source that the policy no longer has: what is under way may come to its end', () => {
  expect(sourceHours({ ...policy, sources: [] }, 'documents', '2026-03-01T12:00:00Z')).toEqual({
    isOpen: true,
    until: null,
  });
});

describe('the plan of a backup', () => {
  test('takes what it needs from the policy, in units that programs use', () => {
    expect(planBackup(policy, request())).toMatchObject({
      source: 'documents',
      kind: 'files',
      host: 'files1',
      level: 'full',
      parent: null,
      critical: false,
      priority: 70,
      copies: [
        { name: 'local', deadlineMs: 86_400_000 },
        { name: 'offsite', deadlineMs: 86_400_000 },
      ],
      validationTimeoutMs: 1_800_000,
      notes: [],
    });
  });

  test('names the point after its source and moment, so that points sort by time', () => {
    expect(planBackup(policy, request()).pointId).toBe('documents-20260301t020000z-k3x9qa');
    const later = planBackup(policy, request({ now: '2026-11-01T02:00:00Z', random: 'aaaaaa' })).pointId;
    expect(later > planBackup(policy, request({ random: 'zzzzzz' })).pointId).toBe(true);
  });

  test('locks what the calendar of the source calls immutable', () => {
    const [documents, shop] = policy.sources;
    const locking = policyOf({
      sources: [{ ...documents, calendar: { yearly: { keep: 2 } } }, shop],
      copies: [{ kind: 's3', name: 'vault', region: 'r', bucket: 'vault', lock: {} }],
    });
    const planned = (source: string, ...classes: PlanRequest['classes']) =>
      planBackup(locking, request({ source, classes })).copies[0]?.lock;
    expect(planned('documents', 'yearly')).toEqual({ mode: 'compliance', keepMs: 2 * 366 * 86_400_000 });
    expect(planned('shop', 'daily', 'yearly')).toEqual({ mode: 'compliance', keepMs: 7 * 366 * 86_400_000 });
    expect(planned('documents', 'monthly')).toBeUndefined();
  });

  test('compares sizes with the last thirty points at most', () => {
    const points = Array.from({ length: 100 }, (_, i) =>
      chainPoint(`${i}`, { storedBytes: i, sourceBytes: 1000 + i, ...(i % 2 === 0 ? {} : { parent: '0' }) }),
    );
    const { sizeHistory, contentHistory } = planBackup(policy, request({ points }));
    // What a full point stores says nothing of the others.
    expect(sizeHistory).toEqual(Array.from({ length: 30 }, (_, i) => 2 * i));
    expect(contentHistory).toEqual(Array.from({ length: 30 }, (_, i) => 1000 + i));
  });

  test('is the same for the same request, and holds no secret', () => {
    const shop = request({ source: 'shop' });
    expect(planBackup(policy, shop)).toEqual(planBackup(policy, shop));
    expect(JSON.stringify(planBackup(policy, shop))).not.toMatch(/env:|file:/);
  });

  test('refuses a source that the policy does not have, and names those it has', () => {
    expect(() => sourcePolicy(policy, 'shoop')).toThrow(
      expect.objectContaining({ type: 'SourceUnknown', message: expect.stringContaining('documents, shop') }),
    );
    expect(() => sourcePolicy(policyOf(), 'shop')).toThrow('it has: none');
  });
});
