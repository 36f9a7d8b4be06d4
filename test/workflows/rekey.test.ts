import { describe, expect, test } from '@jest/globals';
import type { RekeyPage } from '../../activities/rekey.ts';
import type { RekeyWalPage } from '../../activities/rekey-wal.ts';
import type { RekeyInput, RekeyResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes } from './stage.ts';
import { failure } from './stand-ins.ts';

const person = { operator: 'Ada', reason: 'Ben has left' };
const start = (input: Partial<RekeyInput>) =>
  stage.start('rekey', { targets: [{ source: 'shop' }], ...person, ...input } as RekeyInput);
const run = async (input: Partial<RekeyInput> = {}): Promise<RekeyResult> => (await start(input)).result();
const inputsOf = (step: string) => steps.inputs.filter((i) => i.step === step).map((i) => i.input);

const page = (more: Partial<RekeyPage>): RekeyPage => {
  const none = { points: 0, added: 0, present: 0, unproven: 0, moreProblems: 0, after: null };
  return { ...none, former: [], problems: [], ...more };
};
const walPage = (more: Partial<RekeyWalPage>): RekeyWalPage => {
  const none = { objects: 0, added: 0, present: 0, unproven: 0, inLine: 0, moreProblems: 0, after: null };
  return { ...none, former: [], problems: [], ...more };
};
const former = (pointId: string, copy = 'west') => ({
  pointId,
  copy,
  keep: { name: 'key.2.age', sha256: 'e'.repeat(64) },
});

describe('wrapping keys anew', () => {
  test('goes on page by page, and adds up what was done', async () => {
    const pages = [page({ points: 2, added: 6, after: 'shop-2' }), page({ points: 1, added: 1, present: 2 })];
    steps.on('rekeyPoints', () => pages.shift() ?? page({}));
    const { sources } = await run({ copies: ['east'] });
    expect(sources).toEqual([
      {
        source: 'shop',
        points: 3,
        added: 7,
        present: 2,
        wal: { objects: 0, added: 0, present: 0, unproven: 0, inLine: 0 },
        revoked: null,
        kept: [],
        moreKept: 0,
        unproven: 0,
        problems: [],
        moreProblems: 0,
      },
    ]);
    expect(inputsOf('rekeyPoints')).toEqual([
      { source: 'shop', copies: ['east'], after: null },
      { source: 'shop', copies: ['east'], after: 'shop-2' },
    ]);
  });

  test('takes no former key away unless that was asked for', async () => {
    steps.on('rekeyPoints', () => page({ points: 1, former: [former('shop-1')] }));
    await run();
    expect(steps.done).toEqual(['rekeyPoints', 'rekeyWal']);
  });

  test('takes former keys away by the role that removes, and tells which stay and why', async () => {
    steps.on('rekeyPoints', () => page({ points: 2, former: [former('shop-1'), former('shop-2')] }));
    steps.on('removeKeys', () => [
      { pointId: 'shop-1', copy: 'west', removed: ['key.1.age'], kept: [] },
      { pointId: 'shop-2', copy: 'west', removed: [], kept: [{ name: 'key.1.age', why: 'locked until 2027' }] },
    ]);
    const { sources } = await run({ revoke: true });
    expect(inputsOf('removeKeys')).toEqual([{ source: 'shop', former: [former('shop-1'), former('shop-2')] }]);
    expect(sources[0]).toMatchObject({ revoked: 1, kept: ['shop-2 in west: key.1.age, locked until 2027'] });
  });

  test('goes on with the archived WAL, page by page, unless only points were named', async () => {
    const pages = [
      walPage({ objects: 2_000, added: 6_000, after: 'w-1', inLine: 2_000 }),
      walPage({ objects: 3, present: 9 }),
    ];
    steps.on('rekeyWal', () => pages.shift() ?? walPage({}));
    const { sources } = await run({ targets: [{ source: 'shop' }, { source: 'docs', points: ['docs-1'] }] });
    expect(sources.map((s) => s.wal)).toEqual([
      { objects: 2_003, added: 6_000, present: 9, unproven: 0, inLine: 2_000 },
      { objects: 0, added: 0, present: 0, unproven: 0, inLine: 0 },
    ]);
    expect(inputsOf('rekeyWal')).toEqual([
      { source: 'shop', after: null },
      { source: 'shop', after: 'w-1' },
    ]);
  });

  test('takes former keys beside WAL away by the role that removes, and tells which stay and why', async () => {
    const beside = { key: 'shop/wal/1.wal', copies: ['east', 'west'], keep: former('').keep };
    steps.on('rekeyWal', () => walPage({ objects: 1, former: [beside] }));
    steps.on('removeWalKeys', () => [
      { key: beside.key, copy: 'east', removed: ['key.2.age'], kept: [] },
      { key: beside.key, copy: 'west', removed: [], kept: [{ name: 'key.2.age', why: 'locked until 2027' }] },
    ]);
    expect((await run()).sources[0]).toMatchObject({ revoked: null, kept: [] });
    expect((await run({ revoke: true })).sources[0]).toMatchObject({
      revoked: 1,
      kept: ['shop/wal/1.wal in west: key.2.age, locked until 2027'],
    });
    expect(inputsOf('removeWalKeys')).toEqual([{ source: 'shop', former: [beside] }]);
  });

  test('goes on in new runs when there is much, each with a short history, and loses nothing', async () => {
    const names = ['shop', 'docs'];
    const pages = 30;
    steps.on('rekeyPoints', () => page({ points: 1, problems: ['west does not answer'] }));
    steps.on('rekeyWal', ({ after }) => {
      const next = Number(after ?? 0) + 1;
      return walPage({ objects: 10, added: 20, after: next < pages ? String(next) : null });
    });
    const handle = await start({ targets: names.map((source) => ({ source })), historyBudget: 60 });
    const { sources } = (await handle.result()) as RekeyResult;
    expect(sources.map((s) => [s.source, s.points, s.wal.objects, s.wal.added, s.problems])).toEqual(
      names.map((name) => [name, 1, 10 * pages, 20 * pages, ['west does not answer']]),
    );
    const asked = names.flatMap((source) =>
      Array.from({ length: pages }, (_, i) => ({ source, after: i === 0 ? null : String(i) })),
    );
    expect(inputsOf('rekeyWal')).toEqual(asked);
    const runs = await stage.eventsByRun(handle);
    expect(runs.length).toBeGreaterThan(2);
    expect(Math.max(...runs)).toBeLessThan(100);
  });

  test('goes on with the other sources when one fails, and with other copies when one is away, told of once', async () => {
    const away = 'west does not answer';
    steps.on('rekeyPoints', ({ source, after }) => {
      if (source === 'files') throw failure('StoreDenied', 'no copy may be read', false);
      return page({ points: 1, problems: [away], after: after === null ? 'shop-1' : null });
    });
    const { sources } = await run({ targets: [{ source: 'files' }, { source: 'shop' }] });
    expect(sources.map((s) => [s.source, s.points, s.problems])).toEqual([
      ['files', 0, ['no copy may be read']],
      ['shop', 2, [away]],
    ]);
  });

  test('keeps its lists short, and counts the rest', async () => {
    const problems = Array.from({ length: 20 }, (_, i) => i);
    let pages = 0;
    steps.on('rekeyPoints', () => {
      pages++;
      const texts = problems.map((i) => `shop-${pages}-${i} is damaged`);
      return page({ problems: texts, moreProblems: 30, after: pages < 4 ? `shop-${pages}` : null });
    });
    const [result] = (await run()).sources;
    expect(result?.problems).toHaveLength(50);
    expect(result?.moreProblems).toBe(4 * 50 - 50);
  });

  test.each([
    ['without a person', { operator: ' ' }],
    ['without a reason', { reason: '' }],
    ['without a source', { targets: [] }],
    ['with an unknown field', { everything: true } as object],
  ])('is refused %s', async (_how, input) => {
    expect((await causes(await start(input))).at(-1)).toMatchObject({ type: 'UsageInvalid' });
    expect(steps.done).toEqual([]);
  });
});
