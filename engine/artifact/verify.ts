import { createHash } from 'node:crypto';
import { isFailure } from '../../policies/failure.ts';
import type { Progress } from './types.ts';
import { acquireFramePool } from './frame-pool.ts';
import type { UnpackBlock } from './frame-jobs.ts';
import type { PointReader } from './reader.ts';

export interface VerifyOptions {
  signal: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface VerifyReport {
  /** Sealed objects whose size and SHA-256 were compared. */
  objects: number;
  entries: number;
  blocks: number;
  bytes: number;
  /** Everything that is wrong, by name; at most 100 lines. */
  problems: string[];
}

/**
 * Reads all of a point: every sealed object's length and SHA-256, every segment, every frame, every block. Collects
 * what is wrong instead of stopping at it; what cannot be reached (StoreUnreachable …) is thrown.
 */
export async function verifyPoint(reader: PointReader, { signal, onProgress }: VerifyOptions): Promise<VerifyReport> {
  const report: VerifyReport = { objects: 0, entries: 0, blocks: 0, bytes: 0, problems: [] };
  const problem = (what: string) => {
    if (report.problems.length < 100) report.problems.push(what);
  };
  for (const object of reader.backup.objects) {
    await collecting(problem, async () => {
      const found = await digest(reader, object.name, signal);
      if (found.bytes !== object.bytes) problem(`${object.name} has ${found.bytes} bytes instead of ${object.bytes}`);
      else if (found.sha256 !== object.sha256) problem(`${object.name} has the SHA-256 ${found.sha256} instead of ${object.sha256}`);
      report.objects++;
    });
  }
  await collecting(problem, () => verifyBlocks(reader, report, problem, { signal, onProgress }));
  const { entries } = reader.backup.content;
  if (report.problems.length === 0 && report.entries !== entries) {
    problem(`the manifest has ${report.entries} entries, backup.json names ${entries}`);
  }
  return report;
}

async function digest(reader: PointReader, name: string, signal: AbortSignal): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of (await reader.store.get(reader.prefix + name, undefined, signal)) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

/** Frames are opened once although many blocks lie in one; blocks come in the order of the artifact, nearly always. */
async function verifyBlocks(
  reader: PointReader,
  report: VerifyReport,
  problem: (what: string) => void,
  { signal, onProgress }: VerifyOptions,
): Promise<void> {
  const artifact = await reader.artifact();
  const pool = acquireFramePool();
  const underWay = new Set<Promise<void>>();
  let frame: { offset: number; bytes: number; blocks: UnpackBlock[]; names: string[] } | null = null;
  const check = async (f: NonNullable<typeof frame>) => {
    await collecting(problem, async () => {
      const compressed = await artifact.read(f.offset, f.bytes);
      const { problems } = await pool.unpack({ compressed, blocks: f.blocks, wantContent: false });
      for (const p of problems) {
        const of = p.block < 0 ? `${f.names[0]}${f.names.length > 1 ? ` and ${f.names.length - 1} more` : ''}` : f.names[p.block];
        problem(`${of}: ${p.block < 0 ? `the frame at ${f.offset}` : 'a block'} ${p.what}`);
      }
    });
    report.bytes += f.blocks.reduce((sum, b) => sum + b.bytes, 0);
    onProgress?.({ bytesDone: report.bytes, bytesTotal: reader.backup.content.sourceBytes, entriesDone: report.entries });
  };
  const send = async () => {
    if (!frame) return;
    const job = check(frame).finally(() => underWay.delete(job));
    // A failure that is no finding is raised at the end, where all jobs are awaited.
    job.catch(() => {});
    underWay.add(job);
    frame = null;
    if (underWay.size >= pool.threads * 2) await Promise.race(underWay);
  };
  try {
    for await (const entry of reader.entries()) {
      signal.throwIfAborted();
      report.entries++;
      const name = Buffer.from(entry.path).toString();
      let size = 0;
      for await (const block of entry.blocks) {
        if (frame && (frame as { offset: number }).offset !== block.frameOffset) await send();
        frame ??= { offset: block.frameOffset, bytes: block.frameBytes, blocks: [], names: [] };
        frame.blocks.push({ offset: block.offset, bytes: block.bytes, sha256: block.sha256 });
        frame.names.push(name);
        report.blocks++;
        size += block.bytes;
      }
      if (!entry.streamed && entry.type === 'file' && size !== entry.size) {
        problem(`${name}: its blocks hold ${size} bytes, its entry names ${entry.size}`);
      }
    }
    await send();
  } finally {
    await Promise.all(underWay);
    await pool.release();
  }
}

/** Turns damage into a finding; anything else is no finding but a reason to try again. */
async function collecting(problem: (what: string) => void, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!isFailure(error, 'Corrupt', 'ObjectMissing', 'FormatUnsupported')) throw error;
    problem(error.message);
  }
}
