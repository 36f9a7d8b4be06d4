import { createDecipheriv, hkdfSync } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { damaged, Problem } from './problem.mjs';

/** Reads sealed objects: Tink's streaming AEAD, AES256_GCM_HKDF_1MB (docs/format.md, section 4). */

const saltBytes = 32;
const prefixBytes = 7;
const tagBytes = 16;
const headerBytes = 1 + saltBytes + prefixBytes;
const segmentBytes = 1024 * 1024;
const plainPerSegment = segmentBytes - tagBytes;
/** A frame reaches over five segments at the most. */
const cachedSegments = 6;

/** The plaintext of one sealed object in a file. Whatever it returns has been authenticated. */
export class SealedFile {
  /**
   * @param {string} file
   * @param {{ key: Buffer, associatedData: string, bytes: number, name: string, start?: number }} options start: where in the file it begins
   */
  constructor(file, { key, associatedData, bytes, name, start = 0 }) {
    this.name = name;
    this.start = start;
    this.fd = openObject(file, name);
    const found = fstatSync(this.fd).size - start;
    if (found !== bytes) throw damaged(`${name} is damaged: it has ${found} bytes instead of ${bytes}.`);
    this.bytes = bytes;
    this.segments = Math.ceil(bytes / segmentBytes);
    const last = bytes - (this.segments - 1) * segmentBytes;
    const lastMin = this.segments === 1 ? headerBytes + tagBytes : tagBytes + 1;
    const header = readExactly(this.fd, start, Math.min(headerBytes, bytes), name);
    if (last < lastMin || header[0] !== headerBytes) throw damaged(`${name} is damaged: it is no sealed object.`);
    this.plainBytes = bytes - headerBytes - this.segments * tagBytes;
    this.prefix = header.subarray(1 + saltBytes);
    this.derived = Buffer.from(hkdfSync('sha256', key, header.subarray(1, 1 + saltBytes), associatedData, 32));
    /** @type {Map<number, Buffer>} */
    this.cache = new Map();
  }

  /** @param {number} offset @param {number} length @returns {Buffer} */
  read(offset, length) {
    if (offset + length > this.plainBytes)
      throw damaged(`${this.name} is damaged: bytes ${offset} to ${offset + length} were asked of ${this.plainBytes}.`);
    /** @type {Buffer[]} */
    const parts = [];
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor((at + headerBytes) / plainPerSegment);
      const start = index === 0 ? 0 : index * plainPerSegment - headerBytes;
      const part = this.segment(index).subarray(at - start, offset + length - start);
      parts.push(part);
      at += part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts, length);
  }

  /** @param {number} index @returns {Buffer} */
  segment(index) {
    const known = this.cache.get(index);
    if (known) return known;
    const from = index === 0 ? headerBytes : index * segmentBytes;
    const length = Math.min(this.bytes, (index + 1) * segmentBytes) - from;
    const cipher = readExactly(this.fd, this.start + from, length, this.name);
    const nonce = Buffer.alloc(12);
    this.prefix.copy(nonce);
    nonce.writeUInt32BE(index, prefixBytes);
    nonce[11] = index === this.segments - 1 ? 1 : 0;
    const decipher = createDecipheriv('aes-256-gcm', this.derived, nonce);
    decipher.setAuthTag(cipher.subarray(cipher.length - tagBytes));
    const plain = decipher.update(cipher.subarray(0, cipher.length - tagBytes));
    try {
      decipher.final();
    } catch {
      const at = index * segmentBytes;
      throw damaged(
        `${this.name} is damaged: segment ${index} of ${this.segments} (at byte ${at}) is not what was sealed.`,
      );
    }
    for (const oldest of this.cache.keys()) {
      if (this.cache.size < cachedSegments) break;
      this.cache.delete(oldest);
    }
    this.cache.set(index, plain);
    return plain;
  }

  close() {
    closeSync(this.fd);
  }
}

/** Opens an object for reading. @param {string} file @param {string} name for messages */
export function openObject(file, name) {
  try {
    return openSync(file, 'r');
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    if (code === 'ENOENT') throw damaged(`${name} is not there.`, 'Bring it here from the store, or use another copy.');
    throw unreadable(name, error);
  }
}

/** The next bytes of an object; 0 at its end. @param {number} fd @param {Buffer} into @param {number} from @param {number | null} position @param {string} name */
export function readSome(fd, into, from, position, name) {
  try {
    return readSync(fd, into, from, into.length - from, position);
  } catch (error) {
    throw unreadable(name, error);
  }
}

/** @param {string} name @param {unknown} error */
function unreadable(name, error) {
  return new Problem(
    'store',
    `${name} cannot be read: ${/** @type {Error} */ (error).message}.`,
    'Look at the disk, and at who may read there.',
  );
}

/** @param {number} fd @param {number} offset @param {number} length @param {string} name */
function readExactly(fd, offset, length, name) {
  const bytes = Buffer.allocUnsafe(length);
  for (let at = 0; at < length; ) {
    const got = readSome(fd, bytes, at, offset + at, name);
    if (got === 0) throw damaged(`${name} is damaged: it ends after ${offset + at} bytes.`);
    at += got;
  }
  return bytes;
}
