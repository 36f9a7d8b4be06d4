import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { keyNumber } from '../../policies/recovery-point.ts';
import { type FoundKey, keyCoverage, lockOfKey, planRekey, walCoverage } from '../../policies/rekey.ts';

const copies = ['disk', 'east', 'west'];
const ann = ['age1ann'];
const ben = ['age1ben'];

const found = (copy: string, name: string, recipients: string[], more: Partial<FoundKey> = {}): FoundKey => ({
  copy,
  name,
  sha256: `${name} for ${recipients}`,
  recipients,
  genuine: true,
  ...more,
});
const everywhere = (name: string, recipients: string[], more: Partial<FoundKey> = {}) =>
  copies.map((copy) => found(copy, name, recipients, more));

describe('wrapping keys anew', () => {
  test('makes the next number, in every copy, when nobody of the present recipients opens the point', () => {
    expect(planRekey({ recipients: ben, copies, found: everywhere('key.1.age', ann) })).toEqual({
      name: 'key.2.age',
      sha256: null,
      lacking: copies,
    });
  });

  test('changes nothing where the present recipients open it, in whatever order they are named', () => {
    const keys = [...everywhere('key.1.age', ann), ...everywhere('key.2.age', ['age1cai', 'age1ben'])];
    expect(planRekey({ recipients: ['age1ben', 'age1cai'], copies, found: keys })).toMatchObject({
      name: 'key.2.age',
      lacking: [],
    });
  });

  test('goes on with the very key that an interrupted run has laid into some copies', () => {
    const keys = [...everywhere('key.1.age', ann), found('disk', 'key.2.age', ben)];
    expect(planRekey({ recipients: ben, copies, found: keys })).toEqual({
      name: 'key.2.age',
      sha256: 'key.2.age for age1ben',
      lacking: ['east', 'west'],
    });
  });

  test('takes back who was a recipient before by the key that there is still', () => {
    const keys = [...everywhere('key.1.age', ann), ...everywhere('key.2.age', ben)];
    expect(planRekey({ recipients: ann, copies, found: keys })).toMatchObject({ name: 'key.1.age', lacking: [] });
  });

  test.each([
    ['says that it is for them and is not genuine', [found('east', 'key.2.age', ben, { genuine: false })]],
    ['is for more people than them', [found('east', 'key.2.age', [...ann, ...ben])]],
    [
      'has other bytes in another copy',
      [found('disk', 'key.2.age', ben), found('east', 'key.2.age', ben, { sha256: 'other', genuine: false })],
    ],
  ])('passes over a key that %s', (_what, keys) => {
    const plan = planRekey({ recipients: ben, copies, found: [...everywhere('key.1.age', ann), ...keys] });
    expect(plan).toEqual({ name: 'key.3.age', sha256: null, lacking: copies });
  });

  test('whatever is there: never overwrites, comes to its end in one run, and the next run changes nothing', () => {
    const key = fc.record({
      copy: fc.constantFrom(...copies),
      number: fc.integer({ min: 1, max: 4 }),
      recipients: fc.constantFrom<string[]>(ann, ben, [...ann, ...ben]),
      bytes: fc.constantFrom('x', 'y'),
      genuine: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(key, { maxLength: 12 }), fc.constantFrom<string[]>(ann, ben), (keys, recipients) => {
        const there = new Map<string, FoundKey>(
          keys.map(({ copy, number, bytes, ...k }) => {
            const name = `key.${number}.age`;
            // What is genuine, and for whom, is a matter of the bytes alone.
            const of = { recipients: bytes === 'x' ? k.recipients : ann, genuine: bytes === 'x' || k.genuine };
            return [
              `${copy} ${name}`,
              { copy, name, sha256: `${bytes} ${of.recipients} ${of.genuine}`, ...of },
            ] as const;
          }),
        );
        const plan = planRekey({ recipients, copies, found: [...there.values()] });
        for (const copy of plan.lacking) {
          expect(there.has(`${copy} ${plan.name}`)).toBe(false);
          const sha256 = plan.sha256 ?? 'new';
          there.set(`${copy} ${plan.name}`, { copy, name: plan.name, sha256, recipients, genuine: true });
        }
        expect(keyNumber(plan.name)).not.toBeNull();
        expect(planRekey({ recipients, copies, found: [...there.values()] })).toMatchObject({
          name: plan.name,
          lacking: [],
        });
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the lock on a key', () => {
  const now = '2026-06-01T00:00:00Z';
  const until = '2027-01-01T00:00:00Z';

  test('is as long as that of the point, for without a key the point is lost', () => {
    expect(lockOfKey('compliance', { lockedUntil: until }, now)).toEqual({ mode: 'compliance', until });
  });

  test.each([
    ['the copy locks nothing', undefined, until],
    ['the point is not locked', 'governance', null],
    ['its lock is over', 'governance', '2026-05-01T00:00:00Z'],
  ] as const)('is none where %s', (_where, mode, lockedUntil) => {
    expect(lockOfKey(mode, { lockedUntil }, now)).toBeNull();
  });
});

describe('who opens what', () => {
  test('is counted by recipient; what present ones lack and former ones open is named', () => {
    const points = [
      { pointId: 'a', recipients: ann },
      { pointId: 'b', recipients: [...ann, ...ben] },
      { pointId: 'c', recipients: ben },
    ];
    expect(keyCoverage(points, ben)).toEqual({
      points: 3,
      opens: [
        { recipient: 'age1ben', present: true, points: 2 },
        { recipient: 'age1ann', present: false, points: 2 },
      ],
      lacking: ['a'],
      former: ['a', 'b'],
    });
  });

  test('is counted of WAL by how many objects are for the same people', () => {
    const sets = [
      { recipients: ann, objects: 300 },
      { recipients: [...ann, ...ben], objects: 20 },
      { recipients: ben, objects: 1 },
    ];
    expect(walCoverage(sets, ben)).toEqual({
      objects: 321,
      opens: [
        { recipient: 'age1ben', present: true, objects: 21 },
        { recipient: 'age1ann', present: false, objects: 320 },
      ],
      lacking: 300,
      former: 320,
    });
  });
});
