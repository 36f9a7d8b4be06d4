import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createDirectoryStore, readBytes, type Store, verifyObject } from '../../../engine/stores/index.ts';
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
