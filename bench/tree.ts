import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';

/** A repeatable source of numbers (xorshift32), so that every run measures the same data. */
export function randomNumbers(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 0x1_0000_0000;
  };
}

/** Bytes that compress about as well as source code and logs do, mixed with some that do not at all. */
export function fillBytes(target: Buffer, random: () => number): void {
  const words = ['error', 'warning', 'request', 'response', 'customer', 'invoice', 'timestamp', '0x', 'null', 'true'];
  let at = 0;
  const incompressible = random() < 0.35;
  while (at < target.length) {
    if (incompressible) {
      target.writeUInt8((random() * 256) | 0, at++);
      continue;
    }
    const word = `${words[(random() * words.length) | 0]} ${(random() * 1e6) | 0} `;
    at += target.write(word, at);
  }
}

/**
 * Writes a tree of `files` files and about `bytes` bytes below `root`: mostly small ones in folders of 100, and a few
 * large ones that hold half of the data.
 */
export function makeTree(root: string, files: number, bytes: number): void {
  const random = randomNumbers(20_261_124);
  const large = Math.max(1, Math.round(files / 2_000));
  const largeBytes = Math.floor(bytes / 2 / large);
  const meanSmall = bytes / 2 / (files - large);
  const pool = Buffer.alloc(8 * 1024 * 1024);
  for (let at = 0; at < pool.length; at += 65_536) fillBytes(pool.subarray(at, at + 65_536), random);
  for (let i = 0; i < files; i++) {
    const dir = path.join(root, `d${Math.floor(i / 10_000)}`, `e${Math.floor(i / 100) % 100}`);
    if (i % 100 === 0) mkdirSync(dir, { recursive: true });
    const isLarge = i % 2_000 === 0;
    const size = isLarge ? largeBytes : Math.floor(-Math.log(1 - random()) * meanSmall);
    const parts: Buffer[] = [];
    for (let left = size; left > 0; ) {
      const start = Math.floor(random() * (pool.length - 65_536));
      const part = pool.subarray(start, start + Math.min(left, 16_384 + Math.floor(random() * 40_000)));
      parts.push(part);
      left -= part.length;
    }
    writeFileSync(path.join(dir, `f${i}.dat`), Buffer.concat(parts));
  }
}

const largeFiles = 8;
const largeBytes = 64 * 1024 * 1024;
const overwrittenBytes = 512 * 1024;

/** Eight files of 64 MiB that nothing compresses, beside the others. */
export function addLargeFiles(root: string): void {
  mkdirSync(path.join(root, 'large'));
  for (let i = 0; i < largeFiles; i++) {
    const fd = openSync(path.join(root, 'large', `l${i}.dat`), 'w');
    for (let at = 0; at < largeBytes; at += 8 * 1024 * 1024) writeSync(fd, randomBytes(8 * 1024 * 1024));
    closeSync(fd);
  }
}

/** What a day does to a tree: of a hundred files one is another afterwards (half altered, a quarter removed, a quarter new). */
export function changeTree(root: string, files: number, seed: number): void {
  const random = randomNumbers(seed);
  const fileOf = (i: number) =>
    path.join(root, `d${Math.floor(i / 10_000)}`, `e${Math.floor(i / 100) % 100}`, `f${i}.dat`);
  const content = () => {
    const bytes = Buffer.alloc(1 + Math.floor(random() * 40_000));
    fillBytes(bytes, random);
    return bytes;
  };
  for (let n = 0; n < files / 200; n++) {
    // Of 2,000 files the first one is large.
    const altered = Math.floor((random() * files) / 4) * 4 + 1;
    writeFileSync(fileOf(altered), content());
    if (n % 2 === 1) continue;
    rmSync(fileOf(Math.floor((random() * files) / 4) * 4 + 2), { force: true });
    writeFileSync(`${fileOf(Math.floor(random() * files))}.${seed}-${n}`, content());
  }
}

/** Overwrites 512 KiB in each of the large files, somewhere. */
export function changeLargeFiles(root: string, seed: number): void {
  const random = randomNumbers(seed);
  for (let i = 0; i < largeFiles; i++) {
    const fd = openSync(path.join(root, 'large', `l${i}.dat`), 'r+');
    const offset = Math.floor((random() * (largeBytes - overwrittenBytes)) / 4096) * 4096;
    writeSync(fd, randomBytes(overwrittenBytes), 0, overwrittenBytes, offset);
    closeSync(fd);
  }
}
