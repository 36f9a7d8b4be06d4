import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { followSealing, SealingGone } from '../../../engine/artifact/index.ts';
import type { SealedPoint } from '../../../policies/recovery-point.ts';
import { entryOf, makePlace, noise, type Place, pointDir, sealHere } from './sealing.ts';

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

const signal = new AbortController().signal;
const megabyte = 1_000_000;

/** Seals a point in two steps: the second one, or the failure, comes when the test says so. */
function sealSlowly(format: 'parts' | 'pax-tar' = 'parts') {
  const dir = Promise.withResolvers<string>();
  const halfway = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const sealed: Promise<SealedPoint> = sealHere(
    place,
    async (writer) => {
      await writer.entry(entryOf('a', { streamed: true }));
      await writer.frame([{ kind: 'bytes', bytes: noise(3 * megabyte), hash: true }]);
      halfway.resolve();
      await goOn.promise;
      await writer.frame([{ kind: 'bytes', bytes: noise(megabyte, 2), hash: true }]);
    },
    { format, onDir: dir.resolve },
  );
  sealed.catch(() => {});
  return { dir: dir.promise, halfway: halfway.promise, goOn, sealed };
}

async function follow(dir: string) {
  const followed = await followSealing(dir, { signal, beginsWithinMs: 600_000 });
  if (!followed) throw new Error('it was not begun');
  return followed;
}

async function bytesOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

describe('an artifact that is being sealed', () => {
  test.each([
    ['parts', 'data.parts.zst.tink'],
    ['pax-tar', 'data.tar.zst.tink'],
  ] as const)('is followed from its first bytes to what it is in the end (%s)', async (format, name) => {
    const sealing = sealSlowly(format);
    const dir = await sealing.dir;
    const followed = await follow(dir);
    expect(followed).toMatchObject({ name, path: path.join(dir, name) });
    await sealing.halfway;
    expect(await followed.reach(2 * megabyte, signal)).toBeNull();
    const early = await bytesOf(followed.open(0, 2 * megabyte));
    const reaching = followed.reach(100 * megabyte, signal);
    sealing.goOn.resolve();
    const point = await sealing.sealed;
    const facts = await reaching;
    const file = readFileSync(path.join(dir, name));
    expect(facts).toMatchObject({ bytes: file.length, sha256: createHash('sha256').update(file).digest('hex') });
    expect(facts).toEqual(point.objects.find((o) => o.role === 'artifact'));
    expect(await followed.reach(1, signal)).toEqual(facts);
    expect(file.subarray(0, early.length).equals(early)).toBe(true);
    expect((await bytesOf(followed.open(1000, file.length - 1000))).equals(file.subarray(1000))).toBe(true);
    expect(await bytesOf(followed.open(5, 0))).toHaveLength(0);
    await followed.close();
  });

  test('is waited for until it is begun, and not for ever', async () => {
    const id = 'shop-not-begun';
    mkdirSync(pointDir(place, id), { recursive: true });
    const controller = new AbortController();
    const waiting = followSealing(pointDir(place, id), { signal: controller.signal, beginsWithinMs: 600_000 });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow(/enough|aborted/);
    expect(await followSealing(pointDir(place, id), { signal, beginsWithinMs: 1 })).toBeNull();
  });

  test('is told to be gone when sealing failed, however far it had come, and can be left at any time', async () => {
    const sealing = sealSlowly();
    const followed = await follow(await sealing.dir);
    await sealing.halfway;
    const reaching = followed.reach(Number.POSITIVE_INFINITY, signal);
    sealing.goOn.reject(new Error('the source broke'));
    await expect(reaching).rejects.toThrow(SealingGone);
    await expect(sealing.sealed).rejects.toThrow('the source broke');
    expect(existsSync(followed.path)).toBe(false);
    await expect(followed.reach(100 * megabyte, signal)).rejects.toThrow(SealingGone);
    await followed.close();
  });

  test('is not taken for another one that was sealed in its place', async () => {
    const first = sealSlowly();
    const dir = await first.dir;
    const followed = await follow(dir);
    await first.halfway;
    first.goOn.reject(new Error('the worker died'));
    await first.sealed.catch(() => {});
    const again = sealHere(
      place,
      async (writer) => {
        await writer.frame([{ kind: 'bytes', bytes: noise(4 * megabyte, 3), hash: true }]);
      },
      { dir },
    );
    await again;
    await expect(followed.reach(1, signal)).rejects.toThrow(SealingGone);
    await followed.close();
    const second = await follow(dir);
    expect(await second.reach(1, signal)).toEqual((await again).objects.find((o) => o.role === 'artifact'));
    await second.close();
  });

  test('does not hold whoever gives up waiting for more of it', async () => {
    const sealing = sealSlowly();
    const followed = await follow(await sealing.dir);
    const controller = new AbortController();
    const reaching = followed.reach(100 * megabyte, controller.signal);
    controller.abort();
    await expect(reaching).rejects.toThrow(/abort/i);
    sealing.goOn.resolve();
    await sealing.sealed;
    await followed.close();
  });
});
