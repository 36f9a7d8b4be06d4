import { describe, expect, test } from '@jest/globals';
import { backupNow, duesBetween } from '../../policies/calendar.ts';
import { type PlanRequest, planBackup } from '../../policies/plan.ts';
import type { SourceKind } from '../../policies/recovery-point.ts';
import { chainPoint } from './chain-points.ts';
import { policyOf } from './policies.ts';

/** From the calendar to what a point is built upon, as a schedule goes through it at each of its moments. */

const connection = { host: 'db1', user: 'backup' };
const policy = policyOf({
  sources: [
    { name: 'files', kind: 'files', path: '/srv/documents', host: 'one' },
    { name: 'postgres-physical', kind: 'postgres-physical', connection, host: 'one' },
    {
      name: 'postgres-logical',
      kind: 'postgres-logical',
      connection: { ...connection, database: 'shop' },
      host: 'one',
    },
  ],
});

interface Made {
  at: string;
  level: string;
  parent: string | null;
  notes: string[];
}

/** Each point of a source between two instants, by the day that it was made on; some days' points are then unfit. */
function scheduled(kind: SourceKind, after: string, upTo: string, unfit: string[] = []): Made[] {
  const { calendar } = policy;
  const points: PlanRequest['points'] = [];
  const made: Made[] = [];
  let coveredUntil = after;
  for (const { at } of duesBetween(calendar, after, upTo)) {
    const { backup } = backupNow(calendar, { coveredUntil, now: at });
    if (!backup) throw new Error(`nothing is due at ${at}`);
    const asked = { source: kind, ...backup, now: at, random: 'abcdef', points };
    const { level, parent, notes } = planBackup(policy, asked);
    const day = at.slice(0, 10);
    points.unshift(
      chainPoint(day, {
        ...{ kind, level, capturedAt: at, host: 'one', passed: !unfit.includes(day) },
        ...(parent ? { parent: parent.pointId } : {}),
      }),
    );
    made.push({ at: day, level, parent: parent?.pointId ?? null, notes });
    coveredUntil = at;
  }
  return made;
}
const brief = ({ at, level, parent }: Made) => `${at} ${level}${parent === null ? '' : ` upon ${parent}`}`;

describe('a schedule chooses for a cluster, as it does for files,', () => {
  test.each(['files', 'postgres-physical'] as const)(
    'a full on the first, incrementals upon the day before, and differentials upon the full: %s',
    (kind) => {
      const made = scheduled(kind, '2026-03-31T12:00:00Z', '2026-05-02T12:00:00Z');
      expect(made.slice(0, 8).map(brief)).toEqual([
        '2026-04-01 full',
        '2026-04-02 incremental upon 2026-04-01',
        '2026-04-03 incremental upon 2026-04-02',
        '2026-04-04 incremental upon 2026-04-03',
        '2026-04-05 differential upon 2026-04-01',
        '2026-04-06 incremental upon 2026-04-05',
        '2026-04-07 incremental upon 2026-04-06',
        '2026-04-08 incremental upon 2026-04-07',
      ]);
      expect(made.filter((m) => m.level !== 'incremental').map(brief)).toEqual([
        '2026-04-01 full',
        ...['05', '12', '19', '26'].map((day) => `2026-04-${day} differential upon 2026-04-01`),
        '2026-05-01 full',
      ]);
      expect(made.at(-1)).toMatchObject({ level: 'incremental', parent: '2026-05-01' });
      expect(made.flatMap((m) => m.notes)).toEqual([]);
    },
  );

  test.each(['files', 'postgres-physical'] as const)(
    'the newest point that is fit, and a full one with the reason where none is: %s',
    (kind) => {
      const without = scheduled(kind, '2026-04-01T12:00:00Z', '2026-04-03T12:00:00Z');
      expect(without.map(brief)).toEqual(['2026-04-02 full', '2026-04-03 incremental upon 2026-04-02']);
      expect(without[0]?.notes).toEqual([
        'This is a full backup, though incremental was asked for: the source has no point yet.',
      ]);
      const unfit = ['2026-04-03', '2026-04-05'];
      const made = scheduled(kind, '2026-03-31T12:00:00Z', '2026-04-06T12:00:00Z', unfit);
      expect(made.slice(2).map(brief)).toEqual([
        '2026-04-03 incremental upon 2026-04-02',
        '2026-04-04 incremental upon 2026-04-02',
        '2026-04-05 differential upon 2026-04-01',
        '2026-04-06 incremental upon 2026-04-04',
      ]);
    },
  );

  test('and always a full one of a dump, which says so', () => {
    const made = scheduled('postgres-logical', '2026-03-31T12:00:00Z', '2026-04-05T12:00:00Z');
    expect(new Set(made.map((m) => m.level))).toEqual(new Set(['full']));
    expect(made[1]?.notes[0]).toContain('postgres-logical sources are always backed up in full');
  });
});
