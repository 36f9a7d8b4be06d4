import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  bytesSource,
  createDirectoryStore,
  type ReadBack,
  readBytes,
  type Store,
  verifyObject,
} from '../../../engine/stores/index.ts';
import { content, failureType, put, sha256Of } from './fixture.ts';

let dir: string;
let store: Store;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'stores-read-'));
  store = createDirectoryStore({ name: 'disk', path: dir });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('a small object', () => {
  test('is read whole, and refused when it is not small: it may be anybody who wrote it', async () => {
    await put(store, 'small', 'description');
    expect((await readBytes(store, 'small')).toString()).toBe('description');
    await put(store, 'large', content(4 * 1024 * 1024 + 1));
    expect(await failureType(readBytes(store, 'large'))).toBe('Corrupt');
  });
});

describe('reading an object back', () => {
  const bytes = content(3_000_000);
  const facts = { bytes: bytes.length, sha256: sha256Of(bytes) };

  test('passes when it is what was sealed, and tells how far it is', async () => {
    await put(store, 'whole', bytes);
    const told: number[] = [];
    await verifyObject(store, 'whole', facts, { onProgress: (n) => told.push(n) });
    expect(told.at(-1)).toBe(bytes.length);
    expect(told).toEqual([...told].sort((a, b) => a - b));
  });

  test('finds a byte that is another, one that is missing, and one too many', async () => {
    const flipped = Buffer.from(bytes);
    flipped[1_500_000] = (flipped[1_500_000] ?? 0) ^ 1;
    for (const [name, damaged] of [
      ['flipped', flipped],
      ['cut', bytes.subarray(0, -1)],
      ['longer', Buffer.concat([bytes, Buffer.from('x')])],
    ] as const) {
      writeFileSync(path.join(dir, name), damaged);
      const found = await verifyObject(store, name, facts).catch((error: unknown) => error);
      expect(found).toMatchObject({ type: 'ChecksumMismatch', message: expect.stringContaining(`${name} in disk`) });
    }
    expect(await failureType(verifyObject(store, 'nowhere', facts))).toBe('ObjectMissing');
  });

  test('goes on where it was aborted, and reads nothing of the object again', async () => {
    await put(store, 'halfway', bytes);
    const reached = await abortedReading('halfway');
    expect(reached).toEqual({ bytes: reached.bytes, sha256: sha256Of(bytes.subarray(0, reached.bytes)) });
    const ranges: unknown[] = [];
    const watched: Store = {
      ...store,
      get: (key, range, signal) => {
        ranges.push(range);
        return store.get(key, range, signal);
      },
    };
    await verifyObject(watched, 'halfway', facts, { from: { reached, source: bytesSource(bytes) } });
    expect(ranges).toEqual([{ offset: reached.bytes }]);
  });

  test('that goes on finds what is damaged before and behind, and trusts nothing that it cannot compare', async () => {
    await put(store, 'behind', bytes);
    const reached = await abortedReading('behind');
    const from = { reached, source: bytesSource(bytes) };
    const flipAt = (at: number) => {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      return flipped;
    };
    writeFileSync(path.join(dir, 'flipped behind'), flipAt(bytes.length - 1));
    expect(await failureType(verifyObject(store, 'flipped behind', facts, { from }))).toBe('ChecksumMismatch');
    // The object was damaged before, when it was read: the bytes at hand say otherwise, and all is read again.
    const before = { ...reached, sha256: sha256Of(flipAt(0).subarray(0, reached.bytes)) };
    writeFileSync(path.join(dir, 'flipped before'), flipAt(0));
    const other = { from: { reached: before, source: bytesSource(bytes) } };
    expect(await failureType(verifyObject(store, 'flipped before', facts, other))).toBe('ChecksumMismatch');
    await verifyObject(store, 'behind', facts, other);
  });

  /** Where a reading back had come to when it was aborted. */
  async function abortedReading(key: string): Promise<ReadBack> {
    const controller = new AbortController();
    const told: ReadBack[] = [];
    const reading = verifyObject(store, key, facts, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
      onAborted: (reached) => told.push(reached),
    });
    await expect(reading).rejects.toThrow(/abort/i);
    const [reached] = told;
    if (!reached) throw new Error('it did not tell');
    expect(reached.bytes).toBeGreaterThan(0);
    expect(reached.bytes).toBeLessThan(bytes.length);
    return reached;
  }

  test('stops when it is aborted', async () => {
    await put(store, 'again', bytes);
    const controller = new AbortController();
    const reading = verifyObject(store, 'again', facts, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(reading).rejects.toThrow(/abort/i);
  });
});
