import { describe, expect, test } from '@jest/globals';
import { pointPrefix, storedBytes } from '../../policies/recovery-point.ts';

describe('a recovery point', () => {
  test('occupies what all its sealed objects do', () => {
    const object = { role: 'artifact' as const, name: 'a', sha256: '0'.repeat(64) };
    expect(
      storedBytes({
        objects: [
          { ...object, bytes: 2 ** 40 },
          { ...object, bytes: 7 },
        ],
      }),
    ).toBe(2 ** 40 + 7);
    expect(storedBytes({ objects: [] })).toBe(0);
  });

  test('lies apart from a source whose name begins like its own', () => {
    expect(pointPrefix('shop-2', 'p').startsWith(pointPrefix('shop', ''))).toBe(false);
    expect(pointPrefix('shop', 'p')).toBe('shop/p/');
  });
});
