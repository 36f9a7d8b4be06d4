import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { measureFrame, splitFrames } from '../../../engine/artifact/zstd-frames.ts';
import { failureOf, noise } from './sealing.ts';

const frameOf = (bytes: number, hard = true) =>
  zstdCompressSync(hard ? noise(bytes + 4).subarray(0, bytes) : Buffer.alloc(bytes, 'abc'), { pledgedSrcSize: bytes });

/** Around the places where the header's size field grows, and where a second block begins. */
const sizes = fc.oneof(fc.nat(1000), fc.constantFrom(255, 256, 257, 65_791, 65_792, 131_071, 131_073, 300_000));

async function* inChunks(bytes: Buffer, cuts: number[]): AsyncGenerator<Buffer> {
  let at = 0;
  for (const cut of cuts) {
    yield bytes.subarray(at, at + cut);
    at += cut;
  }
  yield bytes.subarray(at);
}

async function split(bytes: Buffer, cuts: number[] = [], frameBytesMax = 1_000_000): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  for await (const frame of splitFrames(inChunks(bytes, cuts), frameBytesMax)) frames.push(Buffer.from(frame));
  return frames;
}

test('a frame that fills its chunk may be handed over by whoever is given it', async () => {
  const frames = [frameOf(300_000), frameOf(200_000)];
  const sizes: number[] = [];
  const chunks = (async function* () {
    for (const frame of frames) yield Buffer.from(new Uint8Array(frame).buffer);
  })();
  for await (const frame of splitFrames(chunks, 1_000_000)) {
    sizes.push(frame.length);
    (frame.buffer as ArrayBuffer).transfer(0);
  }
  expect(sizes).toEqual(frames.map((f) => f.length));
});

describe('a zstd frame', () => {
  test('is measured without being decompressed, wherever it lies', () => {
    fc.assert(
      fc.property(sizes, fc.boolean(), fc.nat(20), (bytes, hard, before) => {
        const frame = frameOf(bytes, hard);
        const within = Buffer.concat([noise(before), frame, noise(9)]);
        expect(measureFrame(within, before)).toEqual({ frameBytes: frame.length, contentBytes: bytes });
      }),
      { numRuns: 60 },
    );
  });

  test('that is cut off anywhere is too short, and what is no frame is none', () => {
    const frame = frameOf(300_000);
    for (let length = 0; length < frame.length; length += 7001)
      expect(measureFrame(frame.subarray(0, length))).toBe('short');
    expect(measureFrame(Buffer.alloc(100))).toBe('none');
    const reserved = Buffer.from(frame);
    // Magic, descriptor and a size of four bytes; then the first block's header, its type in bits 1 and 2.
    reserved[9] = (reserved[9] ?? 0) | 6;
    expect(measureFrame(reserved)).toBe('none');
  });
});

describe('a stream of frames', () => {
  test('is cut where they end, however it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(sizes, { maxLength: 5 }),
        fc.array(fc.nat(70_000), { maxLength: 6 }),
        async (some, cuts) => {
          const frames = some.map((bytes) => frameOf(bytes));
          const found = await split(Buffer.concat(frames), cuts);
          expect(found.map((f) => f.length)).toEqual(frames.map((f) => f.length));
          expect(Buffer.concat(found).equals(Buffer.concat(frames))).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('gives each frame out for good: its memory may go elsewhere with it', async () => {
    const memory = new Uint8Array(frameOf(300_000)).buffer;
    const bytes = memory.byteLength;
    const found: number[] = [];
    for await (const frame of splitFrames(inChunks(Buffer.from(memory), []), 1_000_000)) {
      found.push(frame.length);
      structuredClone(memory, { transfer: [memory] });
    }
    expect(found).toEqual([bytes]);
  });

  test('that ends within a frame, or holds something else, is damaged', async () => {
    const frame = frameOf(1000);
    for (const bytes of [
      frame.subarray(0, -1),
      Buffer.concat([frame, Buffer.of(0x28)]),
      Buffer.concat([frame, noise(50)]),
    ])
      expect(await failureOf(split(bytes))).toMatchObject({ type: 'Corrupt' });
  });

  test('whose frame has no end is given up before it fills the memory', async () => {
    const endless = Buffer.concat([frameOf(300_000).subarray(0, 100_000), Buffer.alloc(900_000)]);
    expect(await failureOf(split(endless, [50_000, 50_000], 60_000))).toMatchObject({
      message: expect.stringContaining('longer than the format allows'),
    });
  });
});
