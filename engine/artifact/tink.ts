import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { Failure } from '../../policies/failure.ts';
import { giveBack, giveBackChunk } from '../give-back.ts';
import { createTaker, type Taker } from './taker.ts';

/**
 * Tink's streaming AEAD, AES256_GCM_HKDF_1MB: https://developers.google.com/tink/streaming-aead and the wire format
 * in docs/format.md. Ciphertext = header (40 bytes) and segments; every segment but the last fills 1 MiB, the first
 * one counting the header.
 */

const saltBytes = 32;
const noncePrefixBytes = 7;
const tagBytes = 16;
export const headerBytes = 1 + saltBytes + noncePrefixBytes;
/** Ciphertext bytes of a full segment. */
export const defaultSegmentBytes = 1024 * 1024;

/** Key, context and geometry of one sealed object. */
export interface StreamKey {
  /** 32 random bytes. */
  key: Uint8Array;
  /** Bound to every segment: `POINT-ID/ROLE`, so that objects cannot take each other's place. */
  associatedData: string;
  /** For tests of the edges; 1 MiB in the format. */
  segmentBytes?: number;
}

interface Segments {
  derived: Buffer;
  noncePrefix: Buffer;
  segmentBytes: number;
}

function derive({ key, associatedData, segmentBytes }: StreamKey, salt: Buffer, noncePrefix: Buffer): Segments {
  const derived = Buffer.from(hkdfSync('sha256', key, salt, Buffer.from(associatedData), 32));
  return { derived, noncePrefix, segmentBytes: segmentBytes ?? defaultSegmentBytes };
}

function nonce(prefix: Buffer, index: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  prefix.copy(bytes);
  bytes.writeUInt32BE(index, noncePrefixBytes);
  bytes[11] = last ? 1 : 0;
  return bytes;
}

/** Plaintext bytes that the segment of this index holds when it is full. */
function plainCapacity(segmentBytes: number, index: number): number {
  return segmentBytes - tagBytes - (index === 0 ? headerBytes : 0);
}

/** Encrypts a stream piece by piece; segments leave as they fill. */
export class StreamEncryptor {
  private readonly segments: Segments;
  private readonly salt = randomBytes(saltBytes);
  /** Plaintext of the segment that is being filled. */
  private readonly pending: Buffer;
  private pendingBytes = 0;
  private index = 0;
  private readonly out: (chunk: Buffer<ArrayBuffer>) => void;

  /** @param out receives the header, then ciphertext, in order; what it is given is its own */
  constructor(key: StreamKey, out: (chunk: Buffer<ArrayBuffer>) => void) {
    this.segments = derive(key, this.salt, randomBytes(noncePrefixBytes));
    this.pending = Buffer.allocUnsafeSlow(this.segments.segmentBytes);
    this.out = out;
    out(Buffer.concat([Buffer.of(headerBytes), this.salt, this.segments.noncePrefix]));
  }

  write(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      // A full segment waits for one byte more, for the last one is marked, and may be full.
      if (this.pendingBytes === this.capacity()) this.seal(false);
      const part = bytes.subarray(at, at + this.capacity() - this.pendingBytes);
      this.pending.set(part, this.pendingBytes);
      this.pendingBytes += part.length;
      at += part.length;
    }
  }

  end(): void {
    this.seal(true);
  }

  private capacity(): number {
    return plainCapacity(this.segments.segmentBytes, this.index);
  }

  private seal(last: boolean): void {
    const { derived, noncePrefix } = this.segments;
    const cipher = createCipheriv('aes-256-gcm', derived, nonce(noncePrefix, this.index, last));
    this.out(cipher.update(this.pending.subarray(0, this.pendingBytes)));
    cipher.final();
    this.out(cipher.getAuthTag());
    this.pendingBytes = 0;
    this.index++;
  }
}

/** Reads `length` bytes of the ciphertext from `offset`; fewer only at its end. The chunks are the caller's own. */
export type RangeReader = (offset: number, length: number) => Promise<Readable>;

/** Opens any stretch of a sealed object; what it returns has been authenticated. */
export interface StreamDecryptor {
  /** Length of the plaintext. */
  readonly plainBytes: number;
  readonly segments: number;
  /**
   * The plaintext from `offset`, the caller's own; segments that cover it are fetched in one range. `Corrupt` names what
   * is wrong.
   */
  read(offset: number, length: number): Promise<Buffer<ArrayBuffer>>;
  /**
   * Several stretches, none of them empty, that lie in order; all that lies between is fetched as well, in one range. Each
   * is the caller's own, and there as soon as its bytes are. Whoever awaits one must not leave the others unhandled.
   */
  readInOrder(stretches: readonly { offset: number; bytes: number }[]): Promise<Buffer<ArrayBuffer>>[];
  /** Opens one segment, for passes over the whole ciphertext. The first one comes with the header before it. */
  openSegment(index: number, cipher: Buffer): Buffer<ArrayBuffer>;
  /** Where the segment's plaintext begins; for the index after the last one, where it ends. */
  segmentStart(index: number): number;
  /** Ciphertext bytes of the segment; for the first one with the header. */
  segmentCipherBytes(index: number): number;
}

export interface DecryptorOptions extends StreamKey {
  /** Named in errors. */
  name: string;
  cipherBytes: number;
  fetch: RangeReader;
}

/** Reads the header and makes a decryptor for an object of a known length. */
export async function openStream(options: DecryptorOptions): Promise<StreamDecryptor> {
  const { name, cipherBytes, fetch } = options;
  const segmentBytes = options.segmentBytes ?? defaultSegmentBytes;
  if (cipherBytes < headerBytes + tagBytes) throw damaged(name, `it is cut off after ${cipherBytes} bytes`);
  const header = await openHeader(options);
  if (header[0] !== headerBytes) throw damaged(name, 'its header does not begin as the format demands');
  const keys = derive(options, header.subarray(1, 1 + saltBytes), header.subarray(1 + saltBytes));
  const count = Math.ceil(cipherBytes / segmentBytes);
  const lastBytes = cipherBytes - (count - 1) * segmentBytes;
  // Only the one segment of an empty plaintext is empty. A cut that leaves just a tag's length must not pass for an end.
  if (lastBytes < tagBytes || (count > 1 && lastBytes === tagBytes))
    throw damaged(name, `its last segment has ${lastBytes} bytes; it was cut off or added to`);
  const plainBytes = cipherBytes - headerBytes - count * tagBytes;

  // Adding the header makes all segments alike, so that places follow by multiplication.
  const perSegment = segmentBytes - tagBytes;
  const segmentStart = (index: number) => (index === 0 ? 0 : Math.min(plainBytes, index * perSegment - headerBytes));
  const decrypt = (index: number, cipher: Buffer): Buffer<ArrayBuffer> => {
    const decipher = createDecipheriv('aes-256-gcm', keys.derived, nonce(keys.noncePrefix, index, index === count - 1));
    decipher.setAuthTag(cipher.subarray(cipher.length - tagBytes));
    const plain = decipher.update(cipher.subarray(0, cipher.length - tagBytes));
    try {
      decipher.final();
    } catch {
      // The message of OpenSSL names no place; ours must.
      throw damaged(name, `segment ${index} of ${count} (at byte ${index * segmentBytes}) is not what was sealed`);
    }
    return plain;
  };

  const segmentCipherBytes = (index: number) => (index === count - 1 ? lastBytes : segmentBytes);
  const segmentOf = (offset: number) => Math.min(count - 1, Math.floor((offset + headerBytes) / perSegment));

  /** Stretches that are read one after the other share a segment: the last one of a stretch, fetched once. */
  let last: { index: number; plain: Promise<Buffer> } | null = null;

  /**
   * Opens the segments that cover a stretch one after the other, and shows each, which is not the visitor's own; the first
   * one is not fetched when it is at hand, the last one stays so.
   */
  const visitSegments = async (from: number, to: number, visit: (plain: Buffer, start: number) => void) => {
    const first = segmentOf(from);
    const final = segmentOf(Math.max(from, to - 1));
    const opened = openSegments(first, final, last?.index === first ? last.plain : null, visit);
    if (last?.index !== final) {
      const kept = { index: final, plain: opened };
      last = kept;
      opened.catch(() => {
        if (last === kept) last = null;
      });
    }
    await opened;
  };

  /** Returns the last one. */
  const openSegments = async (
    first: number,
    final: number,
    atHand: Promise<Buffer> | null,
    visit: (plain: Buffer, start: number) => void,
  ): Promise<Buffer> => {
    const next = atHand === null ? first : first + 1;
    const from = next === 0 ? headerBytes : next * segmentBytes;
    const to = Math.min(cipherBytes, (final + 1) * segmentBytes);
    const cipher = next > final ? null : createTaker(await fetch(from, to - from));
    const segment = cipher ? Buffer.allocUnsafeSlow(segmentBytes) : null;
    try {
      let plain: Buffer = Buffer.alloc(0);
      if (atHand !== null) {
        plain = await atHand;
        visit(plain, segmentStart(first));
      }
      for (let index = next; cipher && segment && index <= final; index++) {
        const before = index === 0 ? headerBytes : 0;
        const wanted = segment.subarray(0, segmentCipherBytes(index) - before);
        const got = await cipher.take(wanted);
        if (got < wanted.length)
          throw damaged(name, `it ends after ${index * segmentBytes + before + got} of ${cipherBytes} bytes`);
        plain = decrypt(index, wanted);
        visit(plain, segmentStart(index));
        if (index < final) giveBackChunk(plain);
      }
      if (cipher) await assertOver(cipher, name);
      return plain;
    } finally {
      cipher?.close();
      if (segment) giveBack(segment.buffer);
    }
  };

  /** Resolves, in order, to stretches that lie in order; the last one when all that was fetched has been found good. */
  const readAll = (stretches: readonly { offset: number; bytes: number }[]): Promise<Buffer<ArrayBuffer>>[] => {
    const parts = stretches.map((stretch) => ({ ...stretch, ...Promise.withResolvers<Buffer<ArrayBuffer>>() }));
    const from = stretches[0]?.offset ?? 0;
    const to = stretches.reduce((most, { offset, bytes }) => Math.max(most, offset + bytes), from);
    let current = 0;
    /** Made when its first byte is there: what is still to come takes up nothing. */
    let into: Buffer<ArrayBuffer> | null = null;
    const visit = (plain: Buffer, start: number) => {
      for (let part = parts[current]; part && part.offset < start + plain.length; part = parts[current]) {
        into ??= Buffer.allocUnsafeSlow(part.bytes);
        const at = Math.max(0, part.offset - start);
        const end = Math.min(plain.length, part.offset + part.bytes - start);
        into.set(plain.subarray(at, end), start + at - part.offset);
        if (start + end < part.offset + part.bytes || current === parts.length - 1) return;
        part.resolve(into);
        into = null;
        current++;
      }
    };
    visitSegments(from, to, visit).then(
      () => parts.at(-1)?.resolve(into ?? Buffer.alloc(0)),
      (error: unknown) => {
        for (const part of parts.slice(current)) part.reject(error);
      },
    );
    return parts.map(({ promise }) => promise);
  };

  const assertWithin = (offset: number, length: number) => {
    if (offset >= 0 && offset + length <= plainBytes) return;
    throw damaged(name, `bytes ${offset} to ${offset + length} were asked of ${plainBytes}`);
  };

  return {
    plainBytes,
    segments: count,
    segmentStart,
    segmentCipherBytes,
    openSegment: (index, cipher) => {
      if (index > 0) return decrypt(index, cipher);
      // Keys were derived from the header as it was read before; here it must be the same.
      if (!cipher.subarray(0, headerBytes).equals(header))
        throw damaged(name, 'its header reads differently every time');
      return decrypt(index, cipher.subarray(headerBytes));
    },
    async read(offset, length) {
      assertWithin(offset, length);
      if (length > 0) return (await readAll([{ offset, bytes: length }])[0]) ?? Buffer.alloc(0);
      // Of an empty plaintext there is still a segment to be authenticated.
      if (plainBytes === 0) await visitSegments(0, 0, () => {});
      return Buffer.alloc(0);
    },
    readInOrder(stretches) {
      for (const { offset, bytes } of stretches) assertWithin(offset, bytes);
      return readAll(stretches);
    },
  };
}

async function openHeader({ fetch, name }: DecryptorOptions): Promise<Buffer> {
  const header = Buffer.alloc(headerBytes);
  const taker = createTaker(await fetch(0, headerBytes));
  try {
    const got = await taker.take(header);
    if (got < headerBytes) throw damaged(name, `it is cut off after ${got} bytes`);
    await assertOver(taker, name);
    return header;
  } finally {
    taker.close();
  }
}

/** A server that ignores ranges would send all there is. */
async function assertOver(taker: Taker, name: string): Promise<void> {
  if ((await taker.take(Buffer.alloc(1))) > 0) throw damaged(name, 'more came back than was asked for');
}

function damaged(name: string, what: string): Failure {
  return new Failure('Corrupt', `${name} is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
