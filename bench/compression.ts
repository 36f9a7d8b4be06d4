import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { constants as zlib } from 'node:zlib';
import { compressFrame } from '../engine/artifact/compression.ts';
import { frameBytesMax } from '../engine/artifact/limits.ts';
import { type BenchContext, mib, ratio, table } from './context.ts';
import { makeTree } from './tree.ts';

const sampleBytes = 96 * 1024 * 1024;

/** The first one is what the others are compared with. */
const settings: Record<string, (frame: Buffer) => Buffer> = {
  'level 3': (frame) => compressFrame(frame, level(3)),
  'this project': (frame) => compressFrame(frame),
  'level 1': (frame) => compressFrame(frame, level(1)),
  'level 2': (frame) => compressFrame(frame, level(2)),
  'level 4': (frame) => compressFrame(frame, level(4)),
};

/** What a frame's settings cost and save, on one thread: made-up files, and what lies below node_modules and in /usr/lib. */
export async function benchCompression({ dir, rounds }: BenchContext): Promise<string> {
  const made = path.join(dir, 'compression');
  makeTree(made, 2_000, sampleBytes);
  const folders = {
    'made-up files': made,
    node_modules: new URL('../node_modules', import.meta.url).pathname,
    '/usr/lib': '/usr/lib',
  };
  const rows: (string | number)[][] = [];
  for (const [name, folder] of Object.entries(folders)) {
    const frames = await framesOf(folder);
    const found = Object.entries(settings).map(([label, compress]) => ({ label, compress, bytes: 0, ms: Infinity }));
    for (let round = 0; round < rounds; round++) {
      for (const one of found) {
        const began = process.cpuUsage();
        one.bytes = frames.reduce((sum, frame) => sum + one.compress(frame).length, 0);
        const { user, system } = process.cpuUsage(began);
        one.ms = Math.min(one.ms, (user + system) / 1000);
      }
    }
    const [plain = { bytes: 0, ms: 0 }] = found;
    for (const { label, bytes, ms } of found) {
      const ratios = [ratio(bytes, plain.bytes), ratio(ms, plain.ms)];
      rows.push([name, label, mib(bytes), (ms / 1000).toFixed(2), ...ratios]);
    }
  }
  return [
    `## Compression: ${mib(sampleBytes)} MiB of files in frames of 4 MiB, by one thread`,
    '',
    table(['of', 'zstd', 'MiB', 'CPU s', 'its size / level 3', 'its time / level 3'], rows),
    '',
    'The least time of all rounds.',
  ].join('\n');
}

function level(n: number) {
  return { [zlib.ZSTD_c_compressionLevel]: n, [zlib.ZSTD_c_checksumFlag]: 1 };
}

/** The files of a folder in the order of their names, joined into frames, until the sample is full. */
async function framesOf(folder: string): Promise<Buffer[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = all.filter((f) => f.isFile()).map((f) => path.join(f.parentPath, f.name));
  const parts: Buffer[] = [];
  let bytes = 0;
  for (const file of files.sort()) {
    if (bytes >= sampleBytes) break;
    const part = await readFile(file);
    parts.push(part);
    bytes += part.length;
  }
  const joined = Buffer.concat(parts);
  const count = Math.ceil(joined.length / frameBytesMax);
  return Array.from({ length: count }, (_, i) => joined.subarray(i * frameBytesMax, (i + 1) * frameBytesMax));
}
