import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { byFrame, windowsOf } from '../../../engine/artifact/frame-order.ts';
import type { WholeBlock } from '../../../engine/artifact/types.ts';

const blockAt = (frameOffset: number, artifact = 0): WholeBlock => ({
  artifact,
  frameOffset,
  frameBytes: 10,
  offset: 0,
  bytes: 1,
  sha256: 'ab'.repeat(32),
});
const itself = (block: WholeBlock) => block;

async function collect(blocks: AsyncIterable<WholeBlock>): Promise<WholeBlock[][]> {
  const windows: WholeBlock[][] = [];
  for await (const window of windowsOf(blocks, itself)) windows.push(window);
  return windows;
}
async function* stream(blocks: Iterable<WholeBlock>): AsyncGenerator<WholeBlock> {
  yield* blocks;
}

describe('blocks in windows', () => {
  test('come small while they are nearly in order, and large while they are not', async () => {
    const ordered = Array.from({ length: 20_000 }, (_, i) => blockAt(i));
    expect((await collect(stream(ordered))).map((w) => w.length)).toEqual([8192, 8192, 3616]);
    const turned = ordered.toReversed();
    expect((await collect(stream(turned))).map((w) => w.length)).toEqual([20_000]);
    const chain = ordered.map((_, i) => blockAt(i >> 1, i % 2));
    expect((await collect(stream(chain))).length).toBe(3);
  });

  test('that came before the stream failed are given out before that is told', async () => {
    async function* failing() {
      yield blockAt(1);
      throw new Error('cut off');
    }
    const seen: number[] = [];
    const walk = async () => {
      for await (const window of windowsOf(failing(), itself)) seen.push(window.length);
    };
    await expect(walk()).rejects.toThrow('cut off');
    expect(seen).toEqual([1]);
  });

  test('whose taker stops close the stream', async () => {
    let closed = false;
    async function* endless() {
      try {
        for (let i = 0; ; i++) yield blockAt(i);
      } finally {
        closed = true;
      }
    }
    for await (const window of windowsOf(endless(), itself)) if (window.length > 0) break;
    expect(closed).toBe(true);
  });
});

test('a window goes by frame, in the order of each artifact, and nothing is lost', () => {
  const blocks = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 2 })).map(([at, a]) => blockAt(at, a)),
  );
  fc.assert(
    fc.property(blocks, (window) => {
      const frames = byFrame(window, itself);
      expect(frames.flat()).toHaveLength(window.length);
      const places = frames.map(([first]) => (first?.artifact ?? 0) * 100 + (first?.frameOffset ?? 0));
      expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
      for (const frame of frames) expect(new Set(frame.map((b) => `${b.artifact}:${b.frameOffset}`)).size).toBe(1);
    }),
  );
});
