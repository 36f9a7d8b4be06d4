import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { inherited, patched, stretchesOf } from '../../../engine/artifact/blocks.ts';
import type { Block } from '../../../engine/artifact/types.ts';

/** The bytes of a block, each by the name of its place. */
function placesOf(block: Block): string[] {
  return stretchesOf(block).flatMap(({ artifact, frameOffset, offset, bytes }) =>
    Array.from({ length: bytes }, (_, i) => `${artifact}/${frameOffset}/${offset + i}`),
  );
}

const stretch = fc.record({
  artifact: fc.nat(2),
  frameOffset: fc.nat(2),
  frameBytes: fc.constant(99),
  offset: fc.nat(50),
  bytes: fc.integer({ min: 1, max: 20 }),
});
/** Gaps and runs in turn. */
const cuts = fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })), { maxLength: 5 });

test('a block with some of its bytes replaced has the others where they were, whatever it was made of', () => {
  fc.assert(
    fc.property(fc.array(stretch, { minLength: 1, maxLength: 6 }), cuts, fc.nat(60), (stretches, some, grown) => {
      const length = stretches.reduce((sum, s) => sum + s.bytes, 0);
      const before: Block = inherited({ bytes: length, sha256: 'old', stretches });
      const runs: { offset: number; bytes: number }[] = [];
      let at = 0;
      for (const [gap, bytes] of some) {
        if (at + gap >= length) break;
        runs.push({ offset: at + gap, bytes });
        at += gap + bytes;
      }
      // What the earlier block does not reach is new.
      if (at < length && grown > 0) runs.push({ offset: length, bytes: grown });
      const bytes = Math.max(at, length + (at < length ? grown : 0));
      const stored = { artifact: 0, frameOffset: 7, frameBytes: 9, offset: 100, bytes: 0 };
      const after = patched(before, { bytes, sha256: 'new', pages: 'p' }, runs, stored);
      const was = placesOf(before);
      let next = 100;
      const isNew = (i: number) => runs.some((r) => i >= r.offset && i < r.offset + r.bytes);
      expect(placesOf(after)).toEqual(Array.from({ length: bytes }, (_, i) => (isNew(i) ? `0/7/${next++}` : was[i])));
      expect(after).toMatchObject({ bytes, sha256: 'new', pages: 'p' });
    }),
    { numRuns: 500 },
  );
});

test('a block that only lost its end lies in one piece, as it did', () => {
  const before: Block = { artifact: 3, frameOffset: 5, frameBytes: 9, offset: 10, bytes: 100, sha256: 'old' };
  expect(patched(before, { bytes: 60, sha256: 'new' }, [], null)).toEqual({ ...before, bytes: 60, sha256: 'new' });
});
