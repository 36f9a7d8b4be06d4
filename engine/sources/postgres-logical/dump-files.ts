import { createWriteStream } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Failure } from '../../../policies/failure.ts';
import type { PointReader, Progress } from '../../artifact/index.ts';
import { readContent } from '../content.ts';
import { restoreTree } from '../files/restore.ts';
import { dumpFolder, dumpPart, fingerprintPart, globalsPart } from './dump-context.ts';
import type { ServerFingerprint } from './fingerprint-server.ts';

/** A point's parts, decrypted onto a disk. */
export interface DumpFiles {
  /** What pg_restore is given: a file (custom format) or a folder (directory format). */
  dump: string;
  bytes: number;
  globals: string | null;
  fingerprint: ServerFingerprint | null;
}

export interface UnpackOptions {
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Decrypts a point into a folder that is made (0700). Throws Corrupt, StagingFull. */
export async function unpackDump(point: PointReader, into: string, options: UnpackOptions): Promise<DumpFiles> {
  await mkdir(into, { recursive: true, mode: 0o700 });
  try {
    return await (point.backup.content.format === 'pax-tar' ? unpackTree : unpackParts)(point, into, options);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    throw new Failure('StagingFull', `There is no space to unpack the dump of ${point.backup.id} into ${into}.`, {
      next: 'Free space there, then try again.',
      cause: error,
    });
  }
}

async function unpackTree(point: PointReader, into: string, { signal, onProgress }: UnpackOptions): Promise<DumpFiles> {
  const { bytes } = await restoreTree(point, { into, signal, onProgress });
  const text = async (name: string) => {
    try {
      return await readFile(path.join(into, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  };
  const fingerprint = await text(fingerprintPart);
  return {
    dump: path.join(into, dumpFolder),
    bytes,
    globals: await text(globalsPart),
    fingerprint: fingerprint === null ? null : JSON.parse(fingerprint),
  };
}

async function unpackParts(
  point: PointReader,
  into: string,
  { signal, onProgress }: UnpackOptions,
): Promise<DumpFiles> {
  const dump = path.join(into, dumpPart);
  const content = point.content(dumpPart, signal);
  const bytesTotal = partOf(point, dumpPart)?.bytes ?? 0;
  let bytes = 0;
  content.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    onProgress({ bytesDone: bytes, bytesTotal, entriesDone: 0 });
  });
  await pipeline(content, createWriteStream(dump, { mode: 0o600, flags: 'wx' }));
  const text = async (name: string) =>
    partOf(point, name) ? (await readContent(point, name, signal)).toString() : null;
  const fingerprint = await text(fingerprintPart);
  return {
    dump,
    bytes,
    globals: await text(globalsPart),
    fingerprint: fingerprint === null ? null : JSON.parse(fingerprint),
  };
}

export function partOf(point: PointReader, name: string): { bytes: number } | undefined {
  return point.backup.content.parts?.find((p) => p.path === name);
}
