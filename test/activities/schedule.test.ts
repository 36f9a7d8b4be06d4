import { describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createScheduleActivities } from '../../activities/schedule.ts';
import type { Decision } from '../../policies/calendar.ts';
import { parsePolicy } from '../../policies/parse.ts';
import type { BackupClass } from '../../policies/recovery-point.ts';
import { makePoint } from '../engine/catalog/points.ts';
import { examplePolicy } from '../policies/example-policy.ts';

const policy = parsePolicy(examplePolicy, 'policy.yaml');
const dayMs = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * dayMs).toISOString();

/** What is decided for the source `shop` with these points, newest first. */
async function decide(points: { startedAt: string; classes: BackupClass[] }[], ahead = false): Promise<Decision> {
  const records = points.map((p) => ({
    backup: { ...makePoint({ id: 'shop-1' }).backup, ...p },
    storedBytes: 1,
    copies: [],
    holds: [],
  }));
  const { decideBackup } = createScheduleActivities({ policy, catalog: { points: async () => records } });
  return new MockActivityEnvironment().run(decideBackup, { source: 'shop', ahead });
}

describe('what is due when a schedule wakes', () => {
  test('is nothing after a point that has just been begun', async () => {
    expect(await decide([{ startedAt: ago(0), classes: ['daily'] }])).toEqual({ backup: null, due: [], lapsed: [] });
  });

  test('is one backup for all that was missed since the last one', async () => {
    const { backup, due } = await decide([{ startedAt: ago(9), classes: ['daily'] }]);
    expect(due.length).toBeGreaterThanOrEqual(8);
    expect(backup?.classes).toEqual(expect.arrayContaining(['weekly', 'daily']));
  });

  test('is not covered by a point that a person asked for', async () => {
    const manual = { startedAt: ago(0), classes: ['manual'] as BackupClass[] };
    const { backup } = await decide([manual, { startedAt: ago(2), classes: ['daily'] }]);
    expect(backup?.classes).toContain('daily');
  });

  test('is a first backup for a source that has none', async () => {
    expect((await decide([])).backup).not.toBeNull();
  });

  test('is what comes next, when a person triggers it', async () => {
    const { backup, due } = await decide([{ startedAt: ago(0), classes: ['daily'] }], true);
    expect(backup).toEqual({ classes: due[0]?.classes, level: due[0]?.level });
    expect(Date.parse(due[0]?.at ?? '')).toBeGreaterThan(Date.now());
  });

  test('is refused by name for a source that the policy does not have', async () => {
    const { decideBackup } = createScheduleActivities({ policy, catalog: { points: async () => [] } });
    const error = await new MockActivityEnvironment().run(decideBackup, { source: 'shpo' }).catch((e: unknown) => e);
    expect(error).toMatchObject({ type: 'SourceUnknown', nonRetryable: true });
  });
});
