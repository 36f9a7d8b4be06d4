import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeMetadata, encodeMetadata } from '../../../engine/stores/s3/metadata.ts';
import { partsOf, readParts } from '../../../engine/stores/s3/parts.ts';
import { all, content, failureType, sha256Of, troubled } from './fixture.ts';

const MiB = 1024 * 1024;
const TiB = MiB * MiB;

describe('the parts of an object', () => {
  test('follow each other without gap, fill the object, and are as many as S3 takes', () => {
    const lengths = fc.oneof(fc.integer({ min: 0, max: 100 * MiB }), fc.integer({ min: 0, max: 5 * TiB }));
    fc.assert(
      fc.property(lengths, fc.constantFrom(5 * MiB, 16 * MiB, 64 * MiB), (bytes, wanted) => {
        const parts = partsOf(bytes, wanted);
        expect(parts.length).toBeGreaterThanOrEqual(1);
        expect(parts.length).toBeLessThanOrEqual(10_000);
        let offset = 0;
        for (const [i, part] of parts.entries()) {
          if (part.number !== i + 1 || part.offset !== offset) throw new Error(`part ${i + 1} is misplaced`);
          if (i < parts.length - 1 && part.bytes < wanted) throw new Error(`part ${i + 1} is too small`);
          offset += part.bytes;
        }
        expect(offset).toBe(bytes);
      }),
      { numRuns: 100 },
    );
  });

  test('are read once each, in order, and the last one is not given when the whole is not as promised', async () => {
    const bytes = content(1_000_000);
    const opened: number[] = [];
    const parts = partsOf(bytes.length, 300_000);
    const source = troubled({ bytes, onOpen: (offset) => opened.push(offset) });
    const read = await all(readParts({ source, wanted: 300_000, place: 'here' }));
    expect(opened).toEqual(parts.map((p) => p.offset));
    expect(Buffer.concat(read.map((p) => p.body ?? Buffer.alloc(0))).equals(bytes)).toBe(true);
    for (const { offset, bytes: length, sha256 } of read) {
      expect(sha256.toString('hex')).toBe(sha256Of(bytes.subarray(offset, offset + length)));
    }
    const given: number[] = [];
    const lying = troubled({ bytes, promise: { sha256: sha256Of(Buffer.from('other')) } });
    const reading = async () => {
      for await (const { number } of readParts({ source: lying, wanted: 300_000, place: 'here' })) given.push(number);
    };
    expect(await failureType(reading())).toBe('ChecksumMismatch');
    expect(given).toEqual([1, 2, 3]);
  });

  test('above 64 MiB are not held in memory', async () => {
    const bytes = 65 * MiB;
    const zeros = { ...troubled({ bytes: Buffer.alloc(bytes) }) };
    const [read] = await all(readParts({ source: zeros, wanted: bytes, place: 'here' }));
    expect(read?.body).toBeNull();
    expect(read?.sha256.toString('hex')).toBe(zeros.sha256);
  });
});

describe('metadata', () => {
  test('travel as visible ASCII, and come back as they were, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const { 'db-name': sent = '' } = encodeMetadata({ 'db-name': text });
        expect(sent).toMatch(/^([!-~]([ -~]*[!-~])?)?$/);
        expect(decodeMetadata({ 'db-name': sent })).toEqual({ 'db-name': text });
      }),
    );
  });

  test('stay readable where they can, and as others wrote them where they are not ours', () => {
    expect(encodeMetadata({ 'db-name': 'shop (main)' })).toEqual({ 'db-name': 'shop (main)' });
    expect(decodeMetadata({ note: '100% of it' })).toEqual({ note: '100% of it' });
  });
});
