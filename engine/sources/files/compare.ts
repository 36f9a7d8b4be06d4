import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { comparePaths, type EntryWithBlocks, type PointReader } from '../../artifact/index.ts';
import { yieldToLoop } from './loop.ts';
import { type Found, walk } from './walk.ts';

export interface Comparison {
  entries: number;
  bytes: number;
  /** Files that have holes and came back with holes as well, of how many (file systems decide for themselves). */
  sparse: { captured: number; found: number };
  /** How many things differ, and the first of them by name. */
  differences: number;
  examples: string[];
}

const examplesMax = 20;
const buffer = Buffer.allocUnsafeSlow(1024 * 1024);

/**
 * Compares a folder with what a point holds: every name, type, byte, mode, owner, time, link and attribute, and that
 * nothing is there which should not be. Streams both sides in the same order.
 */
export async function compareTree(point: PointReader, root: string, signal: AbortSignal): Promise<Comparison> {
  const result: Comparison = { entries: 0, bytes: 0, sparse: { captured: 0, found: 0 }, differences: 0, examples: [] };
  const differ = (what: string) => {
    result.differences++;
    if (result.examples.length < examplesMax) result.examples.push(what);
  };
  const breathe = yieldToLoop();
  const there = walk({ root, warn: differ });
  let next = await there.next();
  for await (const entry of point.entries()) {
    signal.throwIfAborted();
    await breathe();
    const name = Buffer.from(entry.path).toString() || '.';
    while (!next.done && comparePaths(next.value.entry.path, entry.path) < 0) {
      differ(`${Buffer.from(next.value.entry.path).toString()} is there but was not captured`);
      next = await there.next();
    }
    result.entries++;
    if (next.done || comparePaths(next.value.entry.path, entry.path) > 0) {
      differ(`${name} is missing`);
      continue;
    }
    await compareEntry(entry, next.value, name);
    next = await there.next();
  }
  for (; !next.done; next = await there.next()) {
    differ(`${Buffer.from(next.value.entry.path).toString()} is there but was not captured`);
  }
  return result;

  async function compareEntry(expected: EntryWithBlocks, { entry: found, file }: Found, name: string): Promise<void> {
    if (expected.type !== found.type) {
      differ(`${name} is a ${found.type}, not a ${expected.type}`);
      return;
    }
    if (expected.type === 'hardlink') {
      if (!sameBytes(expected.link, found.link)) differ(`${name} is linked to another file`);
      return;
    }
    const fields = ['mode', 'mtimeNs', 'size'] as const;
    for (const field of fields) {
      if (expected.type === 'symlink' && field === 'mode') continue;
      if (expected[field] !== found[field]) differ(`${name}: ${field} is ${found[field]}, not ${expected[field]}`);
    }
    if (process.getuid?.() === 0) {
      if (expected.uid !== found.uid || expected.gid !== found.gid) {
        differ(`${name}: its owner is ${found.uid}:${found.gid}, not ${expected.uid}:${expected.gid}`);
      }
    }
    if (!sameBytes(expected.link, found.link)) differ(`${name} points elsewhere`);
    if (!sameAttributes(expected.xattrs, found.xattrs)) differ(`${name}: its extended attributes differ`);
    if (expected.type === 'file') await compareContent(expected, file, found.sparse ?? false, name);
  }

  async function compareContent(expected: EntryWithBlocks, file: Buffer, sparse: boolean, name: string): Promise<void> {
    if (expected.sparse) {
      result.sparse.captured++;
      if (sparse) result.sparse.found++;
    }
    let fd: number;
    try {
      fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      // Of anything else, the disk is to blame and not what was restored.
      if (!['EACCES', 'EPERM', 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(code)) throw error;
      differ(`${name} cannot be read (${code})`);
      return;
    }
    try {
      let offset = 0;
      for await (const block of expected.blocks) {
        const got = readWhole(fd, block.bytes, offset);
        const sha256 = createHash('sha256').update(buffer.subarray(0, got)).digest('hex');
        if (sha256 !== block.sha256) {
          differ(`${name} differs within the ${block.bytes} bytes from ${offset}`);
          return;
        }
        offset += block.bytes;
        result.bytes += block.bytes;
        await breathe();
      }
    } finally {
      closeSync(fd);
    }
  }
}

/** Into the buffer; how much of it there was. One call may bring less. */
function readWhole(fd: number, bytes: number, offset: number): number {
  let at = 0;
  while (at < bytes) {
    const got = readSync(fd, buffer, at, bytes - at, offset + at);
    if (got === 0) break;
    at += got;
  }
  return at;
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return Buffer.compare(a ?? Buffer.alloc(0), b ?? Buffer.alloc(0)) === 0;
}

function sameAttributes(a: Record<string, Uint8Array> = {}, b: Record<string, Uint8Array> = {}): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => a[name] !== undefined && b[name] !== undefined && sameBytes(a[name], b[name]));
}
