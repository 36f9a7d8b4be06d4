import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyPoint } from '../../../engine/artifact/index.ts';
import type { Block, Stretch } from '../../../engine/artifact/types.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { filesSource } from '../../../policies/policy.ts';
import type { SealedPoint } from '../../../policies/recovery-point.ts';
import { entryOf, failureOf, makePlace, noise, openHere, type Place, read, sealHere } from './sealing.ts';

/** Blocks that lie in stretches, in several frames and in no order. */

const signal = new AbortController().signal;
const page = 8192;
const source = createFilesSource(filesSource.parse({ name: 'shop', kind: 'files', path: '/' }));
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

let place: Place;
beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());

/** Even and odd pages of a file in frames of their own, and a whole block behind them. */
const content = noise(40 * page);
const pagesOf = (parity: number) =>
  Array.from({ length: 20 }, (_, i) => content.subarray((2 * i + parity) * page, (2 * i + parity + 1) * page));

/** @param hash of the block, other than what it is */
function seal(hash = sha256(content)): Promise<SealedPoint> {
  return sealHere(
    place,
    async (writer) => {
      const frames = [1, 0].map((parity) =>
        writer.frame([{ kind: 'bytes', bytes: Buffer.concat(pagesOf(parity)), hash: false }]),
      );
      const [odd, even] = await Promise.all(frames);
      if (!odd || !even) throw new Error('no frames');
      const stretches = Array.from({ length: 40 }, (_, i): Stretch => {
        const { frameOffset, frameBytes } = i % 2 === 0 ? even : odd;
        return { artifact: 0, frameOffset, frameBytes, offset: (i >> 1) * page, bytes: page };
      });
      const whole: Block = { ...(stretches[1] as Stretch), sha256: sha256(content.subarray(page, 2 * page)) };
      await writer.entry(entryOf('', { type: 'directory', mode: 0o755 }));
      await writer.entry(entryOf('file', { size: 41 * page }));
      await writer.block({ bytes: content.length, sha256: hash, stretches });
      await writer.block(whole);
    },
    { format: 'blocks' },
  );
}

describe('a block in stretches', () => {
  const expected = Buffer.concat([content, content.subarray(page, 2 * page)]);
  const target = () => path.join(place.dir, `restored-${Math.random()}`, 'tree');

  test('is restored, read and verified as the one that it is', async () => {
    const reader = await openHere(place, await seal());
    const into = target();
    mkdirSync(path.dirname(into));
    const { bytes } = await source.restore(reader, { into, signal, onProgress: () => {} });
    expect(bytes).toBe(expected.length);
    expect(readFileSync(path.join(into, 'file')).equals(expected)).toBe(true);
    expect((await read(reader.content('file'))).equals(expected)).toBe(true);
    expect(await verifyPoint(reader, { signal })).toMatchObject({ problems: [], blocks: 2, bytes: expected.length });
  });

  test('is not, when its stretches make up something else', async () => {
    const reader = await openHere(place, await seal('ab'.repeat(32)));
    const into = target();
    mkdirSync(path.dirname(into));
    const wrong = { type: 'Corrupt', message: expect.stringContaining('not what the manifest names') };
    expect(await failureOf(source.restore(reader, { into, signal, onProgress: () => {} }))).toMatchObject(wrong);
    expect(existsSync(into)).toBe(false);
    expect(await failureOf(read(reader.content('file')))).toMatchObject(wrong);
    const { problems } = await verifyPoint(reader, { signal });
    expect(problems).toEqual(['file: a block in several parts is not what the manifest names']);
  });
});
