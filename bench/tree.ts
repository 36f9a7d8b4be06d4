import { mkdirSync, writeFileSync } from 'node:fs';
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
