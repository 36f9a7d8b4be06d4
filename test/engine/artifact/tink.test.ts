import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { headerBytes, openStream, StreamEncryptor, type StreamKey } from '../../../engine/artifact/tink.ts';
import { failureOf, noise } from './sealing.ts';

/** Segments of 128 bytes show every edge that those of 1 MiB have. */
const segmentBytes = 128;
const tagBytes = 16;
const key: StreamKey = { key: noise(32, 7), associatedData: 'shop-1/artifact', segmentBytes };

function encrypt(plain: Uint8Array, cuts: number[] = [], with_ = key): Buffer {
  const out: Buffer[] = [];
  const encryptor = new StreamEncryptor(with_, (chunk) => out.push(Buffer.from(chunk)));
  let at = 0;
  for (const cut of cuts) {
    encryptor.write(plain.subarray(at, at + cut));
    at += cut;
  }
  encryptor.write(plain.subarray(at));
  encryptor.end();
  return Buffer.concat(out);
}

/** A range, in pieces as a network would bring it. */
function* pieces(bytes: Buffer, offset: number, length: number): Generator<Buffer> {
  const end = Math.min(bytes.length, offset + length);
  for (let at = offset; at < end; at += 50) yield Buffer.from(bytes.subarray(at, Math.min(end, at + 50)));
}

const range = (bytes: Buffer, offset: number, length: number) => Readable.from(pieces(bytes, offset, length));

const open = (cipher: Buffer, with_ = key) =>
  openStream({
    ...with_,
    name: 'shop/shop-1/data.tar.zst.tink',
    cipherBytes: cipher.length,
    fetch: async (offset, length) => range(cipher, offset, length),
  });

async function decrypt(cipher: Buffer, with_ = key): Promise<Buffer> {
  const stream = await open(cipher, with_);
  return stream.read(0, stream.plainBytes);
}

const firstPlain = segmentBytes - headerBytes - tagBytes;
const laterPlain = segmentBytes - tagBytes;
/** Around the ends of segments, and anything between. */
const lengths = fc.oneof(
  fc.integer({ min: 0, max: 1000 }),
  fc
    .tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: -1, max: 1 }))
    .map(([n, d]) => Math.max(0, firstPlain + n * laterPlain + d)),
);

describe('the encrypted stream', () => {
  test('gives back what was written, however it was cut while writing', async () => {
    await fc.assert(
      fc.asyncProperty(lengths, fc.array(fc.nat(200), { maxLength: 12 }), async (length, cuts) => {
        const plain = noise(length, length + 1);
        expect((await decrypt(encrypt(plain, cuts))).equals(plain)).toBe(true);
      }),
      { numRuns: 150 },
    );
  });

  test('has the length that the format demands: no segment is empty but the only one', async () => {
    await fc.assert(
      fc.property(lengths, (length) => {
        const segments = length <= firstPlain ? 1 : 1 + Math.ceil((length - firstPlain) / laterPlain);
        expect(encrypt(noise(length)).length).toBe(headerBytes + length + segments * tagBytes);
      }),
    );
  });

  test('opens any stretch by itself, reading only the segments that cover it', async () => {
    const plain = noise(900, 3);
    const cipher = encrypt(plain);
    await fc.assert(
      fc.asyncProperty(fc.nat(900), fc.nat(900), async (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        const ranges: [number, number][] = [];
        const stream = await openStream({
          ...key,
          name: 'x',
          cipherBytes: cipher.length,
          fetch: async (offset, length) => {
            ranges.push([offset, length]);
            return range(cipher, offset, length);
          },
        });
        ranges.length = 0;
        expect((await stream.read(from, to - from)).equals(plain.subarray(from, to))).toBe(true);
        expect(ranges.length).toBeLessThanOrEqual(1);
        const covering =
          Math.floor((to + headerBytes) / laterPlain) - Math.floor((from + headerBytes) / laterPlain) + 1;
        for (const [, length] of ranges) expect(length).toBeLessThanOrEqual(covering * segmentBytes);
      }),
      { numRuns: 100 },
    );
  });

  test('fetches a segment that two stretches share only once, whether or not the first is there when the second is asked for', async () => {
    const plain = noise(900, 3);
    const cipher = encrypt(plain);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (cuts, ahead) => {
          let fetched = 0;
          const stream = await openStream({
            ...key,
            name: 'x',
            cipherBytes: cipher.length,
            fetch: async (offset, length) => {
              fetched += length;
              return range(cipher, offset, length);
            },
          });
          fetched = 0;
          const reads: Promise<Buffer>[] = [];
          let at = 0;
          for (const cut of cuts) {
            const read = stream.read(at, Math.min(cut, 900 - at));
            if (!ahead) await read;
            reads.push(read);
            at = Math.min(900, at + cut);
          }
          expect(Buffer.concat(await Promise.all(reads)).equals(plain.subarray(0, at))).toBe(true);
          expect(fetched).toBeLessThanOrEqual(cipher.length - headerBytes);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('opens stretches that lie in order by one range, each as soon as it is there', async () => {
    const plain = noise(900, 3);
    const cipher = encrypt(plain);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(900), { minLength: 2, maxLength: 12 }), async (places) => {
        const sorted = places.toSorted((a, b) => a - b);
        // Every second stretch between the places is asked for, the others are gaps.
        const stretches = sorted.flatMap((offset, i) => {
          const end = sorted[i + 1];
          return i % 2 === 0 && end !== undefined ? [{ offset, bytes: end - offset }] : [];
        });
        let ranges = 0;
        const stream = await openStream({
          ...key,
          name: 'x',
          cipherBytes: cipher.length,
          fetch: async (offset, length) => {
            ranges++;
            return range(cipher, offset, length);
          },
        });
        ranges = 0;
        const parts = await Promise.all(stream.readInOrder(stretches));
        expect(parts.map((p) => p.toString('hex'))).toEqual(
          stretches.map(({ offset, bytes }) => plain.subarray(offset, offset + bytes).toString('hex')),
        );
        // What is given away takes nothing along but itself.
        for (const part of parts) expect(part.buffer.byteLength).toBe(part.length);
        expect(ranges).toBe(1);
      }),
      { numRuns: 100 },
    );
  });

  test('of stretches in order, gives out what lies before the damage, and nothing from it on', async () => {
    const plain = noise(900, 3);
    const cipher = encrypt(plain);
    cipher[3 * segmentBytes + 5] = (cipher[3 * segmentBytes + 5] ?? 0) ^ 1;
    const stream = await open(cipher);
    const stretches = [0, 100, 200, 300, 400, 500].map((offset) => ({ offset, bytes: 90 }));
    const parts = await Promise.allSettled(stream.readInOrder(stretches));
    const damagedFrom = firstPlain + 2 * laterPlain;
    parts.forEach((part, i) => {
      const { offset, bytes } = stretches[i] ?? { offset: 0, bytes: 0 };
      if (offset + bytes > damagedFrom) expect(part).toMatchObject({ reason: { type: 'Corrupt' } });
      else expect(part).toEqual({ status: 'fulfilled', value: plain.subarray(offset, offset + bytes) });
    });
    expect(parts.map(({ status }) => status)).toContain('fulfilled');
  });

  test('asks again for a shared segment that did not come', async () => {
    const plain = noise(900, 3);
    const cipher = encrypt(plain);
    let away = false;
    const stream = await openStream({
      ...key,
      name: 'x',
      cipherBytes: cipher.length,
      fetch: async (offset, length) => {
        if (away) throw new Error('away');
        return range(cipher, offset, length);
      },
    });
    away = true;
    await expect(stream.read(0, 100)).rejects.toThrow('away');
    away = false;
    expect((await stream.read(90, 100)).equals(plain.subarray(90, 190))).toBe(true);
  });

  test('is not filled up by a server that sends more than was asked for, and lets its stream go', async () => {
    const cipher = encrypt(noise(900, 3));
    function* endless(offset: number, length: number) {
      yield* pieces(cipher, offset, length);
      for (;;) yield Buffer.alloc(50);
    }
    const given: Readable[] = [];
    const opening = openStream({
      ...key,
      name: 'x',
      cipherBytes: cipher.length,
      fetch: async (offset, length) => {
        const stream = Readable.from(endless(offset, length));
        given.push(stream);
        return stream;
      },
    });
    expect(await failureOf(opening)).toMatchObject({ type: 'Corrupt' });
    expect(given.map((stream) => stream.destroyed)).toEqual([true]);
  });

  test('does not open past its end', async () => {
    const stream = await open(encrypt(noise(300)));
    expect(await failureOf(stream.read(290, 11))).toMatchObject({ type: 'Corrupt' });
  });
});

/** Ways to damage a ciphertext, each of which yields other bytes than were there. */
const damages = fc.oneof(
  fc.record({ kind: fc.constant('flip'), at: fc.nat(), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut'), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant('drop'), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant('repeat'), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant('swap'), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant('remove byte'), at: fc.nat(), bit: fc.constant(0) }),
  fc.record({ kind: fc.constant('add byte'), at: fc.nat(), bit: fc.nat(7) }),
);

function segmentsOf(cipher: Buffer): Buffer[] {
  const first = cipher.subarray(headerBytes, segmentBytes);
  const rest: Buffer[] = [];
  for (let at = segmentBytes; at < cipher.length; at += segmentBytes) rest.push(cipher.subarray(at, at + segmentBytes));
  return [first, ...rest];
}

function damage(cipher: Buffer, { kind, at, bit }: { kind: string; at: number; bit: number }): Buffer {
  const header = cipher.subarray(0, headerBytes);
  const segments = segmentsOf(cipher);
  const n = at % segments.length;
  const byte = at % cipher.length;
  switch (kind) {
    case 'flip': {
      const out = Buffer.from(cipher);
      out[byte] = (out[byte] ?? 0) ^ (1 << bit);
      return out;
    }
    case 'cut':
      return cipher.subarray(0, byte);
    case 'drop':
      return Buffer.concat([header, ...segments.toSpliced(n, 1)]);
    case 'repeat':
      return Buffer.concat([header, ...segments.toSpliced(n, 0, segments[n] ?? header)]);
    case 'swap':
      return Buffer.concat([header, ...segments.slice(1).reverse(), segments[0] ?? header]);
    case 'remove byte':
      return Buffer.concat([cipher.subarray(0, byte), cipher.subarray(byte + 1)]);
    default:
      return Buffer.concat([cipher.subarray(0, byte), Buffer.of(bit), cipher.subarray(byte)]);
  }
}

describe('damage to the encrypted stream', () => {
  test('of any kind, anywhere, is found and named, and is never returned as data', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 700 }), damages, async (length, how) => {
        const plain = noise(length, length + 2);
        const cipher = encrypt(plain);
        const damaged = damage(cipher, how);
        fc.pre(!damaged.equals(cipher));
        expect(await failureOf(decrypt(damaged))).toMatchObject({
          type: 'Corrupt',
          message: expect.stringContaining('shop/shop-1/data.tar.zst.tink'),
        });
        // What does open byte by byte is what was written there.
        const stream = await open(damaged).catch(() => null);
        for (let at = 0; stream && at < Math.min(length, stream.plainBytes); at += 61) {
          const byte = await stream.read(at, 1).catch(() => null);
          if (byte) expect(byte[0]).toBe(plain[at]);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('is named with the segment and the byte where it begins', async () => {
    const cipher = encrypt(noise(500));
    cipher[3 * segmentBytes + 5] = (cipher[3 * segmentBytes + 5] ?? 0) ^ 1;
    const { message } = await failureOf(decrypt(cipher));
    expect(message).toContain(`segment 3 of 5 (at byte ${3 * segmentBytes})`);
  });

  test('shows when an object takes the place of another, or another key is tried', async () => {
    const cipher = encrypt(noise(10));
    const swapped = { ...key, associatedData: 'shop-1/manifest' };
    expect(await failureOf(decrypt(cipher, swapped))).toMatchObject({ type: 'Corrupt' });
    expect(await failureOf(decrypt(cipher, { ...key, key: noise(32, 8) }))).toMatchObject({ type: 'Corrupt' });
  });

  test('shows at the real size of segments as well', async () => {
    const real: StreamKey = { key: key.key, associatedData: key.associatedData };
    const plain = noise(2 * 1024 * 1024 + 7);
    const cipher = encrypt(plain, [1_000_000], real);
    expect((await decrypt(cipher, real)).equals(plain)).toBe(true);
    const shortened = cipher.subarray(0, 2 * 1024 * 1024);
    expect(await failureOf(decrypt(shortened, real))).toMatchObject({ type: 'Corrupt' });
    const stream = await open(shortened, real);
    expect((await stream.read(0, 1000)).equals(plain.subarray(0, 1000))).toBe(true);
  });
});
