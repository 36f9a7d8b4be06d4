import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { constants as zlib, zstdDecompressSync } from 'node:zlib';
import { setMtimeOf } from '../file-times.ts';
import { giveBack, ownMemoryMin } from '../give-back.ts';
import { assertExpected } from '../giving-up.ts';
import { standBack } from '../thread-priority.ts';
import { beginWriting } from '../write-behind.ts';
import type { Run } from './blocks.ts';
import { compressFrame } from './compression.ts';
import type {
  BlockProblem,
  BlockTarget,
  CompareJob,
  ExamineJob,
  FileOwn,
  PackJob,
  ThreadJob,
  ThreadReply,
  UnpackJob,
} from './frame-jobs.ts';
import { buffersOf, endOfWork } from './frame-post.ts';
import { frameBytesMax } from './limits.ts';
import { changedRuns, pageHashes } from './pages.ts';
import type { FileIdentity, Piece, PieceResult } from './types.ts';
import { measureFrame } from './zstd-frames.ts';

/**
 * The work of one thread: read, hash and compress a frame's pieces; or decompress a frame, verify its blocks and write
 * them out. Everything is synchronous, for nothing else happens here, and it is the fastest there is.
 */

const input = Buffer.allocUnsafeSlow(frameBytesMax);

function pack(job: PackJob): ThreadReply {
  const pieces: PieceResult[] = [];
  const only = job.pieces.length === 1 ? job.pieces[0] : undefined;
  let content: Uint8Array;
  if (only?.kind === 'bytes') {
    content = only.bytes;
    pieces.push({ offset: 0, bytes: content.length, sha256: only.hash ? sha256(content) : null, state: 'ok' });
  } else {
    let at = 0;
    for (const piece of job.pieces) {
      const bytes = piece.kind === 'bytes' ? piece.bytes.length : piece.bytes;
      const result = fill(piece, input.subarray(at, at + bytes), at);
      pieces.push(result);
      if (!result.isKnown) at += bytes;
    }
    content = input.subarray(0, at);
  }
  return { seq: job.seq, kind: 'packed', contentBytes: content.length, compressed: compressFrame(content), pieces };
}

function fill(piece: Piece, into: Buffer, offset: number): PieceResult {
  const result: PieceResult = { offset, bytes: into.length, sha256: null, state: 'ok' };
  switch (piece.kind) {
    case 'zeros':
      into.fill(0);
      return result;
    case 'bytes':
      into.set(piece.bytes);
      if (piece.hash) result.sha256 = sha256(into);
      return result;
    case 'file': {
      const read = readFile(piece.path, piece.offset, into, piece.expect);
      const found = sha256(into);
      return { ...result, ...read, sha256: found, ...(found === piece.known ? { isKnown: true } : {}) };
    }
  }
}

/** Fills `into` from the file; what could not be read is zeros, and the state says why. */
function readFile(
  path: Uint8Array,
  offset: number,
  into: Buffer,
  expect: FileIdentity,
): Pick<PieceResult, 'state' | 'errno'> {
  let fd: number;
  try {
    fd = openSync(asBuffer(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NOATIME);
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') return unread(into, error);
    // O_NOATIME is for owners only.
    try {
      fd = openSync(asBuffer(path), constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (again) {
      return unread(into, again);
    }
  }
  try {
    return closing(fd, () => {
      const at = readWhole(fd, into, offset);
      if (at < into.length) {
        into.fill(0, at);
        return { state: 'changed' };
      }
      return { state: same(fd, expect) ? 'ok' : 'changed' };
    });
  } catch (error) {
    return unread(into, error);
  }
}

/** Does something with an open file, and closes it; what goes wrong with either is thrown. */
function closing<T>(fd: number, body: () => T): T {
  try {
    return body();
  } finally {
    closeSync(fd);
  }
}

function same(fd: number, expect: FileIdentity): boolean {
  const now = fstatSync(fd, { bigint: true });
  return (
    now.size === BigInt(expect.size) &&
    String(now.mtimeNs) === expect.mtimeNs &&
    String(now.ctimeNs) === expect.ctimeNs &&
    String(now.ino) === expect.ino &&
    String(now.dev) === expect.dev
  );
}

function unread(into: Buffer, error: unknown): Pick<PieceResult, 'state' | 'errno'> {
  into.fill(0);
  const errno = errnoOf(error);
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return { state: 'vanished' };
  if (errno === 'ELOOP') return { state: 'changed' };
  return { state: 'unreadable', errno };
}

function unpack(job: UnpackJob): ThreadReply {
  let content: Buffer<ArrayBuffer>;
  try {
    const frame = measureFrame(job.compressed);
    if (typeof frame === 'string' || frame.frameBytes !== job.compressed.length) throw new Error('no whole frame');
    content = zstdDecompressSync(job.compressed, {
      // One output buffer of the right size; a byte more than the frame may hold, so that too much is noticed.
      chunkSize: Math.max(ownMemoryMin, Math.min(frameBytesMax, frame.contentBytes ?? frameBytesMax) + 64),
      maxOutputLength: frameBytesMax,
      // A frame that asks for a larger window than a frame may hold is none of ours, and would only cost memory.
      params: { [zlib.ZSTD_d_windowLogMax]: Math.log2(frameBytesMax) },
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const problems = [{ block: -1, what: `cannot be decompressed (${why})` }];
    return { seq: job.seq, kind: 'unpacked', contentBytes: 0, problems, content: null };
  }
  const problems: BlockProblem[] = [];
  const open = { path: '', fd: -1 };
  const close = () => {
    const { fd } = open;
    // Closed, whatever it says.
    open.fd = -1;
    if (fd >= 0) closeSync(fd);
  };
  try {
    for (const [i, block] of job.blocks.entries()) {
      const bytes = content.subarray(block.offset, block.offset + block.bytes);
      if (bytes.length !== block.bytes || (block.sha256 !== null && sha256(bytes) !== block.sha256)) {
        problems.push({ block: i, what: 'is not what the manifest names' });
        continue;
      }
      const { target } = block;
      if (!target) continue;
      assertExpected();
      const path = asBuffer(target.path).toString('latin1');
      if (open.fd < 0 || open.path !== path) {
        close();
        open.fd = openSync(asBuffer(target.path), constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_CREAT, 0o600);
        open.path = path;
      }
      writeBlock(open.fd, bytes, target);
      if (target.own) setOwn(open.fd, target.own, target.path);
      // A part of a block may be far from whatever else is to be written there.
      if (job.writeBehind && block.sha256 !== null)
        beginWriting(open.fd, { offset: target.fileOffset, bytes: bytes.length }, target.path);
    }
    // What could not be written may be told only now.
    close();
  } catch (error) {
    if (open.fd >= 0) closeSync(open.fd);
    return { seq: job.seq, kind: 'failed', errno: errnoOf(error), message: String(error) };
  }
  const contentBytes = content.length;
  if (!job.wantContent) giveBack(content.buffer);
  return { seq: job.seq, kind: 'unpacked', contentBytes, problems, content: job.wantContent ? content : null };
}

function examine({ seq, bytes: given, known, rule }: ExamineJob): ThreadReply {
  const bytes = asBuffer(given);
  const found = sha256(bytes);
  const hashes = rule?.since === null ? pageHashes(bytes, rule.bytes) : null;
  const runs = newRuns(bytes, found, { known, rule, hashes });
  let at = 0;
  // Moved up within the same memory, which goes back as it came.
  for (const run of runs ?? [{ offset: 0, bytes: bytes.length }]) {
    if (run.offset > at) bytes.copyWithin(at, run.offset, run.offset + run.bytes);
    at += run.bytes;
  }
  const pages = hashes?.toString('base64') ?? null;
  const stored = at === 0 ? new Uint8Array() : new Uint8Array(given.buffer as ArrayBuffer, given.byteOffset, at);
  return { seq, kind: 'examined', sha256: found, pages, runs, bytes: stored };
}

function newRuns(
  bytes: Buffer,
  found: string,
  { known, rule, hashes }: Pick<ExamineJob, 'known' | 'rule'> & { hashes: Buffer | null },
): Run[] | null {
  if (known?.bytes === bytes.length && known.sha256 === found) return [];
  const runs = known && rule ? changedRuns(bytes, known, rule, hashes) : null;
  // The block is another one, so something has changed that does not say so.
  if (runs?.length === 0 && known?.bytes === bytes.length) return null;
  return runs?.[0]?.bytes === bytes.length ? null : runs;
}

function compare({ seq, blocks, writeBehind }: CompareJob): ThreadReply {
  const problems: BlockProblem[] = [];
  for (const [i, { path, fileOffset, bytes, sha256: expected, own }] of blocks.entries()) {
    try {
      assertExpected();
      const fd = openSync(asBuffer(path), constants.O_RDONLY | constants.O_NOFOLLOW);
      closing(fd, () => {
        const got = readWhole(fd, input.subarray(0, bytes), fileOffset);
        if (got < bytes || sha256(input.subarray(0, bytes)) !== expected) {
          problems.push({ block: i, what: 'is not what the manifest names' });
          return;
        }
        if (own) setOwn(fd, own, path);
        if (writeBehind) beginWriting(fd, { offset: fileOffset, bytes }, path);
      });
    } catch (error) {
      return { seq, kind: 'failed', errno: errnoOf(error), message: String(error) };
    }
  }
  return { seq, kind: 'compared', problems };
}

/** How much of it there was. */
function readWhole(fd: number, into: Buffer, position: number): number {
  let at = 0;
  while (at < into.length) {
    const got = readSync(fd, into, at, into.length - at, position + at);
    if (got === 0) break;
    at += got;
  }
  return at;
}

const pageBytes = 4096;
const zeroPage = Buffer.alloc(pageBytes);

function writeBlock(fd: number, bytes: Buffer, target: BlockTarget): void {
  if (target.sparse === null) {
    writeAll(fd, bytes, target.fileOffset);
    return;
  }
  // The length is set first, so that a hole at the end counts: that of the whole file, lest a thread that set a shorter
  // one cut off what another has written meanwhile.
  if (fstatSync(fd).size < target.sparse) ftruncateSync(fd, target.sparse);
  for (let at = 0; at < bytes.length; at += pageBytes) {
    const page = bytes.subarray(at, at + pageBytes);
    if (!page.equals(zeroPage.subarray(0, page.length))) writeAll(fd, page, target.fileOffset + at);
  }
}

/** The owner comes before the mode, whose special bits it would take away. */
function setOwn(fd: number, { owner, mode, mtimeNs }: FileOwn, path: Uint8Array): void {
  if (owner) fchownSync(fd, owner.uid, owner.gid);
  fchmodSync(fd, mode);
  setMtimeOf(fd, mtimeNs, path);
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  let at = 0;
  while (at < bytes.length) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}

function sha256(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
}

function done(job: ThreadJob): ThreadReply {
  switch (job.kind) {
    case 'pack':
      return pack(job);
    case 'unpack':
      return unpack(job);
    case 'examine':
      return examine(job);
    case 'compare':
      return compare(job);
  }
}

// The main thread has little to do, but must do it at once: heartbeats, and jobs for the other threads.
standBack();

parentPort?.on('message', (job: ThreadJob | typeof endOfWork) => {
  if (job === endOfWork) {
    parentPort?.close();
    return;
  }
  const reply = done(job);
  const transfer: ArrayBuffer[] = [];
  if (reply.kind === 'packed') transfer.push(reply.compressed.buffer);
  if (reply.kind === 'unpacked' && reply.content) transfer.push(reply.content.buffer);
  if (reply.kind === 'examined') transfer.push(reply.bytes.buffer);
  parentPort?.postMessage(reply, transfer);
  // Whoever sent the job has handed its memory over.
  for (const memory of buffersOf(job)) giveBack(memory);
});
