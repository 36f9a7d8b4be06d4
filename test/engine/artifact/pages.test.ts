import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { changedRuns, type KnownBlock, pageHashes } from '../../../engine/artifact/pages.ts';
import { noise } from './sealing.ts';

const bytes = 8192;
const byLsn = { bytes, since: '1/80' };
const byHash = { bytes, since: null };

/** A page as a little-endian server writes it. */
function page(lsn: [high: number, low: number], { upper = 8000, version = bytes | 4 } = {}): Buffer {
  const made = noise(bytes, lsn[1] + 1);
  made.writeUInt32LE(lsn[0], 0);
  made.writeUInt32LE(lsn[1], 4);
  made.writeUInt16LE(upper, 14);
  made.writeUInt16LE(version, 18);
  return made;
}

const known = (length: number): KnownBlock => ({ bytes: length, sha256: '' });
const old = page([1, 0x7f]);

describe('with checksums, as changed since the earlier backup counts', () => {
  test.each([
    ['no page that is older', old, false],
    ['no page of long before', page([0, 0xffffffff]), false],
    ['a page of the moment at which it began', page([1, 0x80]), true],
    ['a page that was written since', page([2, 0]), true],
    ['a page that bears no position', page([0, 0]), true],
    ['a page of zeros', Buffer.alloc(bytes), true],
    ['a new page', page([1, 0], { upper: 0 }), true],
    ['what is no page of this size', page([1, 0], { version: 4096 | 4 }), true],
    ['what a server of the other byte order wrote', page([1, 0], { version: 0x0420 }), true],
  ])('%s', (_, found, isChanged) => {
    const runs = changedRuns(Buffer.concat([old, found, old]), known(3 * bytes), byLsn, null);
    expect(runs).toEqual(isChanged ? [{ offset: bytes, bytes }] : []);
  });

  test('what the earlier block did not have, or not whole; neighbours are one run', () => {
    const block = Buffer.concat([old, old, old, old.subarray(0, 100)]);
    const beyond = [{ offset: 2 * bytes, bytes: bytes + 100 }];
    expect(changedRuns(block, known(2 * bytes), byLsn, null)).toEqual(beyond);
    expect(changedRuns(block, known(2 * bytes + 100), byLsn, null)).toEqual(beyond);
    expect(changedRuns(block, known(4 * bytes), byLsn, null)).toEqual([{ offset: 3 * bytes, bytes: 100 }]);
  });
});

describe('without checksums', () => {
  test('just those pages have changed that differ', () => {
    const someBlock = fc.array(fc.nat(3), { minLength: 1, maxLength: 12 });
    const pages = [1, 2, 3, 4].map((seed) => noise(bytes, seed));
    const make = (seeds: number[]) => Buffer.concat(seeds.map((seed) => pages[seed] ?? Buffer.alloc(0)));
    fc.assert(
      fc.property(someBlock, someBlock, fc.nat(bytes - 1), (before, after, cut) => {
        const was = make(before);
        const is = make(after).subarray(0, after.length * bytes - cut);
        const hashes = pageHashes(was, bytes).toString('base64');
        const earlier = { bytes: was.length, sha256: '', pages: hashes };
        const runs = changedRuns(is, earlier, byHash, pageHashes(is, bytes)) ?? [];
        for (const [i, seed] of after.entries()) {
          const isWhole = i < after.length - 1 || cut === 0;
          const isIn = runs.some((r) => i * bytes >= r.offset && i * bytes < r.offset + r.bytes);
          expect(isIn).toBe(!(isWhole && before[i] === seed));
        }
        const last = runs.at(-1);
        if (last) expect(last.offset + last.bytes).toBeLessThanOrEqual(is.length);
      }),
      { numRuns: 200 },
    );
  });

  test('an earlier block that has no hashes is of no help', () => {
    expect(changedRuns(old, known(bytes), byHash, pageHashes(old, bytes))).toBeNull();
  });
});
