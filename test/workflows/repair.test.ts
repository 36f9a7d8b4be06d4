import { describe, expect, test } from '@jest/globals';
import type { Damage, RepairPart } from '../../policies/repair.ts';
import type { RepairInput, RepairResult } from '../../workflows/contracts.ts';
import { stage, steps } from './open-stage.ts';
import { causes } from './stage.ts';
import { failure, plan } from './stand-ins.ts';

const { pointId, source } = plan;
const part: RepairPart = { kind: 'point', source, pointId };
const run = async (input: RepairInput = { pointId }): Promise<RepairResult> =>
  (await stage.start('repair', input)).result();
const inputsOf = (step: string) => steps.inputs.filter((i) => i.step === step).map((i) => i.input);
const copyNamed = (name: string) => plan.copies.find((c) => c.name === name);
const keyOf = (name: string) => `shop/${pointId}/${name}`;

const damage = (name: string, state: Damage['state'], from: string | null = 'west'): Damage => ({
  key: keyOf(name),
  state,
  problem: `${name} is ${state}.`,
  from,
});
/** What is found in a copy of the point. */
const finds = (copy: string, damages: Damage[]) =>
  steps.on(`findDamage ${copy}`, () => ({ objects: 4, damages, next: null }));

const outcome = (copy: string, more: object = {}) => ({
  ...{ part, copy, state: 'whole', objects: 4, repaired: 0, keys: [], problems: [] },
  ...more,
});

describe('a repair', () => {
  test('of what is whole changes nothing', async () => {
    expect(await run()).toEqual({ source, outcomes: ['disk', 'east', 'west'].map((copy) => outcome(copy)) });
    expect(steps.done.toSorted()).toEqual([
      ...['findDamage disk', 'findDamage east', 'findDamage west', 'planRepair', 'recordRepair'],
    ]);
  });

  test('removes what is damaged, and puts it and what is missing again, the description last', async () => {
    const found = [
      damage('artifact', 'missing', 'disk'),
      damage('manifest', 'damaged'),
      damage('backup.json', 'missing', 'disk'),
    ];
    finds('east', found);
    const { outcomes } = await run({ pointId, copy: 'east' });
    const keys = found.map((d) => d.key);
    expect(outcomes).toEqual([outcome('east', { state: 'repaired', repaired: 3, keys })]);
    expect(steps.done).toEqual([
      ...['planRepair east', 'findDamage east', 'removeDamaged east', 'putObjectsAgain', 'recordRepair'],
    ]);
    expect(inputsOf('removeDamaged')).toEqual([{ part, copy: 'east', keys: [keyOf('manifest')] }]);
    const objects = found.map(({ key, from }) => ({ key, from }));
    expect(inputsOf('putObjectsAgain')).toEqual([{ part, objects, to: copyNamed('east') }]);
  });

  test('says what is locked, mends the rest, and describes nothing that is not whole', async () => {
    finds('east', [damage('artifact', 'damaged'), damage('key', 'missing'), damage('backup.json', 'missing')]);
    steps.on('removeDamaged', () => [{ key: keyOf('artifact'), reason: 'It is locked until 2033.' }]);
    const { outcomes } = await run({ pointId, copy: 'east' });
    expect(outcomes).toEqual([
      outcome('east', {
        state: 'damaged',
        repaired: 1,
        keys: [keyOf('key')],
        problems: [
          'artifact is damaged. It could not be put again: It is locked until 2033.',
          'backup.json is missing. It comes when the rest is whole.',
        ],
      }),
    ]);
    expect(inputsOf('recordRepair')).toEqual([{ source, what: pointId, outcomes }]);
  });

  test('removes nothing that no other copy has good', async () => {
    finds('disk', [damage('artifact', 'damaged', null)]);
    const { outcomes } = await run();
    expect(outcomes[0]).toEqual(
      outcome('disk', { state: 'damaged', problems: ['artifact is damaged. No other copy has it good.'] }),
    );
    expect(steps.done).not.toContain('removeDamaged disk');
    expect(steps.done).not.toContain('putObjectsAgain');
  });

  test('goes on where a copy cannot be read, and says so', async () => {
    steps.on('findDamage disk', () => {
      throw failure('StoreDenied', 'the disk refuses', false);
    });
    finds('east', [damage('key', 'missing')]);
    const { outcomes } = await run();
    expect(outcomes).toEqual([
      outcome('disk', { state: 'unknown', objects: 0, problems: ['the disk refuses'] }),
      outcome('east', { state: 'repaired', repaired: 1, keys: [keyOf('key')] }),
      outcome('west'),
    ]);
  });

  test('says what could not be put, of whatever kind the failure', async () => {
    finds('east', [damage('key', 'missing')]);
    steps.on('putObjectsAgain', () => {
      throw failure('StoreDenied', 'no credentials', false);
    });
    const { outcomes } = await run({ pointId, copy: 'east' });
    const problems = ['key is missing. It could not be put again: no credentials'];
    expect(outcomes).toEqual([outcome('east', { state: 'damaged', problems })]);
  });

  test('mends what needs nothing else before what needs it, and as much as there is, a part at a time', async () => {
    const wayOut: RepairPart = { kind: 'way-out' };
    const wal: RepairPart = { kind: 'wal', source };
    const copies = plan.copies.filter((c) => c.name === 'east');
    steps.on('planRepair', () => ({
      ...{ source, what: 'the WAL of shop', host: 'local' },
      parts: [wayOut, wal].map((p) => ({ part: p, copies })),
    }));
    const begun: unknown[] = [];
    steps.on('findDamage', ({ part: p, after }) => {
      begun.push([p.kind, after]);
      const rest = { 'way-out': 0, point: 0, wal: { '': 2, b: 1 }[after ?? ''] ?? 0 }[p.kind];
      const found = [damage(after ?? 'a', 'missing')].slice(0, rest);
      return { objects: 10, damages: found, next: { 2: 'b', 1: 'c' }[rest] ?? null };
    });
    const { outcomes } = await run({ walOf: source });
    expect(begun).toEqual([
      ['way-out', undefined],
      ['wal', undefined],
      ['wal', 'b'],
      ['wal', 'c'],
    ]);
    expect(outcomes).toEqual([
      outcome('east', { part: wayOut, objects: 10 }),
      outcome('east', { part: wal, state: 'repaired', objects: 30, repaired: 2, keys: [keyOf('a'), keyOf('b')] }),
    ]);
  });

  test('of a point that is unknown fails with that; of nothing, or of two things, it is refused', async () => {
    steps.on('planRepair', () => {
      throw failure('PointUnknown', 'there is no such point', false);
    });
    const failed = await causes(await stage.start('repair', { pointId }));
    expect(failed).toContainEqual(expect.objectContaining({ type: 'PointUnknown' }));
    for (const input of [{}, { pointId, walOf: source }, { pointId, copies: 'east' }]) {
      expect(await causes(await stage.start('repair', input))).toContainEqual(
        expect.objectContaining({ type: 'UsageInvalid' }),
      );
    }
  });
});
