import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type ChainRequest,
  chainOf,
  chainPointsMax,
  chooseParent,
  divergence,
  isWholeIn,
} from '../../policies/chain.ts';
import { type ChainPointChoices, chainPoint } from './chain-points.ts';
import { policyOf } from './policies.ts';

const policy = policyOf({
  copies: [
    { kind: 'directory', name: 'local', region: 'here', path: '/srv/backup' },
    { kind: 'directory', name: 'offsite', region: 'there', path: '/mnt/backup' },
  ],
});
const request: ChainRequest = {
  level: 'incremental',
  kind: 'files',
  host: 'files1',
  identity: { path: '/srv/documents' },
  now: '2026-03-01T02:00:00Z',
};
/** Newest first: two incrementals, a differential and a full one, and a chain before these. */
const week = [
  chainPoint('i2', { parent: 'i1' }),
  chainPoint('i1', { parent: 'd1' }),
  chainPoint('d1', { parent: 'f2', level: 'differential' }),
  chainPoint('f2'),
  chainPoint('i0', { parent: 'f1' }),
  chainPoint('f1'),
];
const chosen = (points = week, more: Partial<ChainRequest> = {}) =>
  chooseParent(policy, points, { ...request, ...more });
/** The week, with one of its points otherwise. */
const weekWith = (id: string, choices: ChainPointChoices) =>
  week.map((p) => {
    const { parent, level } = p.backup;
    return p.backup.id === id ? chainPoint(id, { ...(parent === null ? {} : { parent }), level, ...choices }) : p;
  });

describe('the parent of a backup', () => {
  test('is the newest point for an incremental, the newest full one for a differential, none for a full', () => {
    expect(chosen()).toEqual({ parent: { pointId: 'i2', manifest: 'i2'.padStart(64, '0'), from: 'local' } });
    expect(chosen(week, { level: 'differential' })).toMatchObject({ parent: { pointId: 'f2' } });
    expect(chosen(week, { level: 'full' })).toEqual({ parent: null, note: null });
  });

  test('is none that is about to be removed, nor one that needs such a point', () => {
    expect(chosen(week, { expiring: ['i2'] })).toMatchObject({ parent: { pointId: 'i1' } });
    expect(chosen(week, { expiring: ['d1'] })).toMatchObject({ parent: { pointId: 'f2' } });
    expect(chosen(week, { expiring: ['f1', 'f2'] })).toEqual({
      parent: null,
      note: expect.stringMatching(/full backup, though incremental .*i2 cannot be built upon, for f2 is to be removed/),
    });
  });

  test.each<[string, ChainPointChoices, string]>([
    ['that did not pass validation', { passed: false }, 'i1'],
    [
      'that another copy lacks, from which the new point could not be restored',
      { copies: { local: 'verified' } },
      'i1',
    ],
    ['that failed in a copy', { copies: { local: 'verified', offsite: 'failed' } }, 'i1'],
    ['of another folder', { path: '/srv/other' }, 'i1'],
    ['of another host', { host: 'files2' }, 'i1'],
    ['of another kind', { kind: 'postgres-physical' }, 'i1'],
  ])('is no point %s, but the newest that is fit', (_, choices, expected) => {
    expect(chosen(weekWith('i2', choices))).toMatchObject({ parent: { pointId: expected } });
  });

  test('is no point whose chain has a gap, or a flaw, anywhere', () => {
    const points = week.filter((p) => p.backup.id !== 'd1');
    expect(chosen(points)).toMatchObject({ parent: { pointId: 'f2' } });
    expect(chosen(weekWith('f2', { copies: { offsite: 'verified' } }))).toMatchObject({ parent: { pointId: 'i0' } });
  });

  test('is none, and says why, when no point is fit', () => {
    const note = (points: typeof week, more: Partial<ChainRequest> = {}) => {
      const result = chosen(points, more);
      return result.parent === null ? result.note : result.parent;
    };
    expect(note([])).toBe('This is a full backup, though incremental was asked for: the source has no point yet.');
    expect(note([chainPoint('i1', { parent: 'f1' })], { level: 'differential' })).toContain('no full point');
    expect(note([chainPoint('i1', { parent: 'f1' })])).toContain('i1 cannot be built upon, for f1, which it needs');
    expect(note([chainPoint('f1', { passed: false })])).toContain('f1 did not pass validation');
    expect(note(week, { kind: 'postgres-logical' })).toContain('postgres-logical sources are always backed up in full');
  });

  test('is none that is as long a chain as may be', () => {
    const points = Array.from({ length: chainPointsMax }, (_, i) =>
      chainPoint(`p${i}`, i === 0 ? {} : { parent: `p${i - 1}` }),
    ).toReversed();
    expect(chosen(points)).toMatchObject({ parent: { pointId: `p${chainPointsMax - 2}` } });
    expect(chosen(points, { level: 'differential' })).toMatchObject({ parent: { pointId: 'p0' } });
  });

  test('is none that may have to be thawed first wherever it lies, and is read where it need not be', () => {
    const price = { dollarsPerGbMonth: 0, dollarsPerGbRetrieved: 0, dollarsPerGbEgress: 0 };
    const tiers = [
      { ...price, name: 'hot' },
      { ...price, name: 'frozen', after: '7d', thaw: '12h' },
    ];
    const [local, offsite] = policy.copies;
    if (local?.kind !== 'directory' || offsite?.kind !== 'directory') throw new Error('no copies');
    const moves = [{ to: 'frozen', path: '/frozen' }];
    const frozen = {
      ...policy,
      tiers,
      copies: [
        { ...local, moves },
        { ...offsite, moves },
      ],
    };
    const half = { ...policy, tiers, copies: [{ ...local, moves }, offsite] };
    const points = [chainPoint('f1', { capturedAt: '2026-02-20T02:00:00Z' })];
    expect(chooseParent(frozen, points, request)).toMatchObject({ note: expect.stringContaining('thawed first') });
    expect(chooseParent(half, points, request)).toMatchObject({ parent: { pointId: 'f1', from: 'offsite' } });
    expect(chooseParent(frozen, [chainPoint('f1')], request)).toMatchObject({ parent: { pointId: 'f1' } });
  });
});

describe('a point of a cluster', () => {
  const then = {
    systemIdentifier: '7',
    timeline: 1,
    standby: false,
    dataChecksums: true,
    pageBytes: 8192,
    startLsn: '1/A0',
  };
  const now = { ...then, lsn: '1/B0' };
  const why = (more: Partial<Record<keyof typeof now, string | number | boolean>>) =>
    divergence('postgres-physical', then, { ...now, ...more });

  test('is one to compare with while the cluster is the same one, goes on from there, and is read likewise', () => {
    expect(why({})).toBeNull();
    expect(why({ lsn: '1/A0' })).toBeNull();
    expect(why({ systemIdentifier: '8' })).toBe('its systemIdentifier was 7, and is 8');
    expect(why({ timeline: 2 })).toBe('its timeline was 1, and is 2');
    expect(why({ standby: true })).toBe('its standby was false, and is true');
    expect(why({ dataChecksums: false })).toBe('its dataChecksums was true, and is false');
    expect(why({ pageBytes: 16_384 })).toBe('its pageBytes was 8192, and is 16384');
    expect(why({ lsn: '0/FFFFFFFF' })).toBe('it had come to 1/A0, and is back at 0/FFFFFFFF');
  });

  test('is chosen like one of a tree', () => {
    const points = week.map(({ backup: { id, parent, level } }) =>
      chainPoint(id, { ...(parent === null ? {} : { parent }), level, kind: 'postgres-physical' }),
    );
    expect(chosen(points, { kind: 'postgres-physical' })).toMatchObject({ parent: { pointId: 'i2' } });
  });
});

describe('a chain', () => {
  test('is a point and all that it needs, down to the full one', () => {
    const ids = (id: string) => {
      const chain = chainOf(week, id);
      return typeof chain === 'string' ? chain : chain.map((p) => p.backup.id);
    };
    expect(ids('i2')).toEqual(['i2', 'i1', 'd1', 'f2']);
    expect(ids('f1')).toEqual(['f1']);
    expect(ids('none')).toContain('is not there');
  });

  test('that goes round is none', () => {
    const round = [chainPoint('a', { parent: 'b' }), chainPoint('b', { parent: 'a' })];
    expect(chainOf(round, 'a')).toBe('a needs itself');
    expect(chosen(round)).toMatchObject({ parent: null });
  });

  test('is whole in a copy that has all of it', () => {
    const points = weekWith('f2', { copies: { local: 'verified', offsite: 'pruned' } });
    expect(isWholeIn(points, 'i2', 'local')).toBe(true);
    expect(isWholeIn(points, 'i2', 'offsite')).toBe(false);
  });

  test('whatever the history, is whole in every copy when it is built upon, and never goes round', () => {
    const state = fc.constantFrom('verified' as const, 'failed' as const, 'pruned' as const);
    const anyPoint = fc.record({ needs: fc.option(fc.nat(20)), passed: fc.boolean(), local: state, offsite: state });
    fc.assert(
      fc.property(fc.array(anyPoint, { maxLength: 12 }), (raw) => {
        const points = raw.map(({ needs, passed, ...copies }, i) =>
          chainPoint(`p${i}`, { passed, copies, ...(needs === null ? {} : { parent: `p${needs % raw.length}` }) }),
        );
        const result = chosen(points);
        if (result.parent === null) return;
        const chain = chainOf(points, result.parent.pointId);
        expect(Array.isArray(chain)).toBe(true);
        for (const copy of ['local', 'offsite']) expect(isWholeIn(points, result.parent.pointId, copy)).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
