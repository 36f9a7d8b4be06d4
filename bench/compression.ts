import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { constants as zlib, zstdCompressSync } from 'node:zlib';
import { compressionParameters } from '../engine/artifact/compression.ts';
import { frameBytesMax } from '../engine/artifact/limits.ts';
import { type BenchContext, mib, ratio, table } from './context.ts';
import { makeTree } from './tree.ts';

const sampleBytes = 96 * 1024 * 1024;

const settings: Record<string, Readonly<Record<number, number>>> = {
  'level 3': level(3),
  'this project': compressionParameters,
  'level 1': level(1),
  'level 2': level(2),
  'level 4': level(4),
};

/** What a frame's settings cost and save, on one thread: made-up files, and what lies below node_modules and in /usr/lib. */
export async function benchCompression({ dir, rounds }: BenchContext): Promise<string> {
  const made = path.join(dir, 'compression');
  makeTree(made, 2_000, sampleBytes);
  const folders = {
    'files as below': made,
    node_modules: new URL('../node_modules', import.meta.url).pathname,
    '/usr/lib': '/usr/lib',
  };
  const rows: (string | number)[][] = [];
  for (const [name, folder] of Object.entries(folders)) {
    const frames = await framesOf(folder);
    const found = Object.values(settings).map((params) => ({ params, bytes: 0, ms: Number.POSITIVE_INFINITY }));
    for (let round = 0; round < rounds; round++) {
      for (const one of found) {
        const began = process.cpuUsage();
        one.bytes = frames.reduce((sum, frame) => sum + compressed(frame, one.params), 0);
        const { user, system } = process.cpuUsage(began);
        one.ms = Math.min(one.ms, (user + system) / 1000);
      }
    }
    const [plain] = found;
    if (!plain) throw new Error('nothing to compare with');
    for (const [i, { bytes, ms }] of found.entries()) {
      const seconds = (ms / 1000).toFixed(2);
      rows.push([
        name,
        Object.keys(settings)[i] ?? '',
        mib(bytes),
        seconds,
        ratio(bytes, plain.bytes),
        ratio(ms, plain.ms),
      ]);
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

function compressed(frame: Buffer, params: Readonly<Record<number, number>>): number {
  const chunkSize = frame.length + (frame.length >> 8) + 1024;
  return zstdCompressSync(frame, { params, pledgedSrcSize: frame.length, chunkSize }).length;
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
