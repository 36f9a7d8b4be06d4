import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../../policies/failure.ts';
import { keyName } from '../../policies/recovery-point.ts';
import {
  isAtItsKey,
  parseWalKey,
  type UnsignedWal,
  type WalHeader,
  walFormat,
  walHeader,
  walKeysPrefix,
} from '../../policies/wal-bundle.ts';
import type { Store } from '../stores/index.ts';
import { compressionLevel } from './compression.ts';
import { syncDirectory } from './files.ts';
import { acquireFramePool } from './frame-pool.ts';
import { generatePointKey, keyCheckOf, type SigningKey, wrapKey } from './keys.ts';
import { frameBytesMax } from './limits.ts';
import { createSealedFile, onStaging } from './sealed-file.ts';
import { signatureOf, verifies } from './signed.ts';
import { openStream } from './tink.ts';
import { type KeyPlace, openPointKey } from './wrapped-keys.ts';
import { parseWrittenJson } from './written-json.ts';

/**
 * WAL in one object (docs/format.md, section 9): the signed description as its first line, then ciphertext of the same
 * layers as an artifact's. One object, so that it is there or it is not.
 */
export interface WalWriter {
  /** Bytes of WAL so far. */
  readonly bytes: number;
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Seals what was written, under the key that the description leads to, and returns that key. The object is whole and
   * durable then.
   */
  finish(describe: (sealed: SealedPart) => { header: UnsignedWal; key: string }): Promise<string>;
  /** Removes what was written. */
  abandon(): Promise<void>;
}

/** What sealing knows, for the description. */
export type SealedPart = Pick<
  UnsignedWal,
  'format' | 'id' | 'content' | 'frames' | 'cipher' | 'compression' | 'encryption' | 'sealedAt'
>;

export interface WalWriterOptions {
  /** A store's folder on the staging disk. */
  root: string;
  id: string;
  recipients: string[];
  signingKey: SigningKey;
}

/** Begins one. Throws PolicyInvalid for a recipient that is none, StagingFull. */
export async function createWalObject({ root, id, recipients, signingKey }: WalWriterOptions): Promise<WalWriter> {
  const pointKey = generatePointKey();
  const wrapped = await wrapKey(pointKey, recipients);
  const scratch = path.join(root, '.wal');
  await mkdir(scratch, { recursive: true, mode: 0o700 });
  const name = `${randomBytes(8).toString('hex')}.cipher`;
  const cipherFile = path.join(scratch, name);
  const sealed = await createSealedFile({
    dir: scratch,
    name,
    role: 'artifact',
    key: pointKey,
    associatedData: `${id}/wal`,
  });
  const pool = acquireFramePool();
  const frames: number[] = [];
  let frame = Buffer.allocUnsafeSlow(frameBytesMax);
  let filled = 0;
  let total = 0;

  const pack = async () => {
    const piece = {
      kind: 'bytes' as const,
      bytes: filled === frame.length ? frame : frame.subarray(0, filled),
      hash: false,
    };
    frame = Buffer.allocUnsafeSlow(frameBytesMax);
    filled = 0;
    const { compressed } = await pool.pack({ pieces: [piece] });
    frames.push(compressed.length);
    await sealed.write(compressed);
  };
  const abandon = async () => {
    await sealed.close();
    await rm(cipherFile, { force: true });
    pointKey.fill(0);
    await pool.release();
  };
  return {
    get bytes() {
      return total;
    },
    async write(bytes) {
      total += bytes.length;
      for (let rest = bytes; rest.length > 0; ) {
        const part = rest.subarray(0, frame.length - filled);
        frame.set(part, filled);
        filled += part.length;
        rest = rest.subarray(part.length);
        if (filled === frame.length) await pack();
      }
    },
    async finish(describe) {
      try {
        // An empty stream would be no zstd at all.
        if (filled > 0 || frames.length === 0) await pack();
        const { bytes, sha256 } = await sealed.finish();
        const { header, key } = describe({
          format: walFormat,
          id,
          content: { bytes: total },
          frames,
          cipher: { bytes, sha256 },
          compression: { scheme: 'zstd', level: compressionLevel },
          encryption: {
            scheme: 'tink-streaming-aead/AES256_GCM_HKDF_1MB',
            recipients,
            keyCheck: keyCheckOf(pointKey, id),
            key: Buffer.from(wrapped).toString('base64'),
          },
          sealedAt: new Date().toISOString(),
        });
        const document = walHeader.parse({ ...header, signature: signatureOf(header, signingKey) });
        await join({ line: `${JSON.stringify(document)}\n`, cipherFile, file: path.join(root, key) });
        return key;
      } finally {
        await abandon();
      }
    },
    abandon,
  };
}

/** Lays the line and the ciphertext together under their name, all at once. */
async function join({ line, cipherFile, file }: { line: string; cipherFile: string; file: string }): Promise<void> {
  const dir = path.dirname(file);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const whole = `${cipherFile}.whole`;
  try {
    await onStaging(whole, async () => {
      const out = createWriteStream(whole, { mode: 0o600, flags: 'wx', flush: true });
      out.write(line);
      await pipeline(createReadStream(cipherFile), out);
    });
    await syncDirectory(dir, { rename: [whole, file] });
  } catch (error) {
    await rm(whole, { force: true });
    throw error;
  }
}

/** Longer than any first line of ours. */
const lineBytesMax = 64 * 1024;

export interface WalReading {
  store: Store;
  source: string;
  /** Where it lies. */
  key: string;
  /** Public keys whose signature counts, base64. */
  trusted: string[];
  signal?: AbortSignal;
}

export interface WalObject {
  header: WalHeader;
  /** Bytes of the first line with its newline: where the ciphertext begins. */
  lineBytes: number;
}

/** The signed first line. Throws Corrupt, SignatureInvalid, FormatUnsupported, ObjectMissing. */
export async function readWalHeader({ store, source, key, trusted, signal }: WalReading): Promise<WalObject> {
  const chunks: Buffer[] = [];
  for await (const chunk of await store.get(key, { offset: 0, length: lineBytesMax }, signal))
    chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const end = bytes.indexOf(0x0a);
  if (end < 0) throw corrupt(key, 'it has no first line');
  let value: unknown;
  try {
    value = parseWrittenJson(bytes.subarray(0, end));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw corrupt(key, `its first line: ${error.message}`, error);
  }
  const { format } = (value ?? {}) as { format?: unknown };
  if (typeof format === 'string' && format !== walFormat && format.startsWith('backup-coordinator/')) {
    throw new Failure('FormatUnsupported', `${key} has the format ${format}; this version reads ${walFormat}.`, {
      next: 'Use a newer version of this software to read it.',
    });
  }
  const parsed = walHeader.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw corrupt(key, `${issue?.path.join('.') || 'its first line'}: ${issue?.message ?? 'malformed'}`, parsed.error);
  }
  const header = parsed.data;
  const { signature, ...signed } = header;
  if (!trusted.includes(signature.publicKey)) {
    throw new Failure('SignatureInvalid', `${key} is signed by ${signature.publicKey}, which is not trusted.`, {
      next: 'If that key is yours, add it to keys.trusted in the policy file; otherwise someone else wrote it.',
    });
  }
  if (!verifies(signed, signature)) {
    throw new Failure('SignatureInvalid', `${key} was changed after it was signed.`, {
      next: 'Use another copy of it.',
    });
  }
  const place = parseWalKey(source, key);
  if (header.source.name !== source || !place || !isAtItsKey(header, place)) {
    throw corrupt(key, `it is that of ${header.source.name}, ${header.id}`);
  }
  return { header, lineBytes: end + 1 };
}

export interface OpenWal extends WalObject {
  /** WAL, or the history file, from an offset on. */
  read(offset: number, length: number): Promise<Buffer>;
}

/** Where its wrapped keys are: the first one in its line, those of rotation beside it. */
export function walKeyPlace({ store, key }: Pick<WalReading, 'store' | 'key'>, header: WalHeader): WalKeyPlace {
  const { recipients, key: wrapped } = header.encryption;
  const first = { name: keyName, wrapped: Buffer.from(wrapped, 'base64'), recipients };
  return { store, prefix: walKeysPrefix(key), backup: header, first };
}

type WalKeyPlace = Required<KeyPlace>;

/** Opens one for reading; everything that it returns has been authenticated. Throws KeyWrong, and as readWalHeader. */
export async function openWal(reading: WalReading, identity: string): Promise<OpenWal> {
  const { store, key, signal } = reading;
  const object = await readWalHeader(reading);
  const { header, lineBytes } = object;
  const { cipher, frames, content, id } = header;
  const pointKey = await openPointKey(walKeyPlace({ store, key }, header), identity);
  const stream = await openStream({
    key: pointKey,
    associatedData: `${id}/wal`,
    name: key,
    cipherBytes: cipher.bytes,
    fetch: (offset, length) => store.get(key, { offset: lineBytes + offset, length }, signal),
  });
  const starts = [0];
  for (const bytes of frames) starts.push((starts.at(-1) ?? 0) + bytes);
  return {
    ...object,
    async read(offset, length) {
      if (offset + length > content.bytes)
        throw corrupt(key, `${offset + length} bytes were asked of ${content.bytes}`);
      if (length === 0) return Buffer.alloc(0);
      const first = Math.floor(offset / frameBytesMax);
      const last = Math.floor((offset + length - 1) / frameBytesMax);
      const from = starts[first] ?? 0;
      const compressed = await stream.read(from, (starts[last + 1] ?? from) - from);
      const pool = acquireFramePool();
      try {
        const unpacked = frames.slice(first, last + 1).map(async (bytes, i) => {
          const at = (starts[first + i] ?? 0) - from;
          const job = { compressed: compressed.subarray(at, at + bytes), blocks: [], wantContent: true };
          const { content: plain, problems } = await pool.unpack(job);
          if (problems[0] || !plain) throw corrupt(key, `frame ${first + i} ${problems[0]?.what ?? 'is empty'}`);
          return plain;
        });
        const all = Buffer.concat(await Promise.all(unpacked));
        const skip = offset - first * frameBytesMax;
        if (all.length < skip + length) throw corrupt(key, 'a frame ends early');
        return all.subarray(skip, skip + length);
      } finally {
        await pool.release();
      }
    },
  };
}

function corrupt(key: string, what: string, cause?: unknown): Failure {
  return new Failure('Corrupt', `${key} is damaged: ${what}.`, { next: 'Use another copy of it.', cause });
}
