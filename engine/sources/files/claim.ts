import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { Failure } from '../../../policies/failure.ts';
import { setMtime } from '../../file-times.ts';
import { syncFileSystem } from '../../sync-file-system.ts';
import { type RestoreResult, restoreResult } from '../source.ts';
import { emptyFolder, removeTree } from './remove.ts';

/**
 * A restore that is killed leaves a half-written folder; one that is killed once it is through, before anybody has heard
 * of it, is tried again. A marker in the folder says whose it is, and whether it is whole: the next attempt of the same
 * restore empties a folder that is not, and has nothing to do with one that is; everybody else finds it not empty. The
 * marker goes when the restore is known to have ended (`keepRestored`, `discardRestored`).
 */
export interface Claim {
  /**
   * The folder is whole, and so are others that the restore has claimed. Resolves once all of it is on the disk: what is
   * told to be whole is so after a power cut, too. Rejects with TargetUnusable when another attempt has taken the folder over
   * meanwhile.
   */
  finish(result: RestoreResult, others: string[]): Promise<void>;
  /** Removes what was written, unless another attempt has taken the folder over meanwhile. */
  undo(): Promise<void>;
}

const marker = z.object({
  attempt: z.string(),
  /** False when the folder was made for the restore. */
  existed: z.boolean(),
  /** Only once it is. */
  whole: z
    .object({
      result: restoreResult,
      /** All that are marked, this one last, with the times that are their own. */
      folders: z.array(z.object({ folder: z.string(), mtimeNs: z.string() })),
    })
    .optional(),
});
type Marker = z.infer<typeof marker>;

/** @param job names the restore over all its attempts; null for one that is never tried again */
export function claimFolder(folder: string, existed: boolean, job: string | null): Claim {
  const file = job === null ? null : markerIn(folder, job);
  const attempt = randomUUID();
  if (file) mark(file, { attempt, existed });
  const isOurs = () => file === null || readMarker(file)?.attempt === attempt;
  return {
    async finish(result, others) {
      if (job === null) return;
      if (!isOurs()) {
        throw new Failure('TargetUnusable', `Another attempt of the same restore has taken ${folder} over.`, {
          next: 'Nothing is to be done: that attempt goes on.',
        });
      }
      const folders = [...others, folder].map((each) => ({ folder: each, mtimeNs: mtimeOf(each) }));
      // By the markers: a folder's restored mode may forbid to open it.
      for (const each of folders) await syncFileSystem(markerIn(each.folder, job));
      remark(markerIn(folder, job), { attempt, existed, whole: { result, folders } });
    },
    async undo() {
      if (!isOurs()) return;
      // The marker goes last: what is only half emptied is still known as ours.
      await emptyFolder(folder, file ? path.basename(file) : undefined);
      if (!existed) await removeTree(folder);
    },
  };
}

/** Leaves nothing when it fails: half a marker is nobody's, and in everybody's way. */
function mark(file: string, content: Marker): void {
  try {
    writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  } catch (error) {
    rmSync(file, { force: true });
    if (!content.existed) rmdirSync(path.dirname(file));
    throw error;
  }
}

/** There is always a whole marker: the one before, or this one. */
function remark(file: string, content: Marker): void {
  const next = `${file}.next`;
  changing(path.dirname(file), () => {
    try {
      writeFileSync(next, JSON.stringify(content), { mode: 0o600, flush: true });
      renameSync(next, file);
    } catch (error) {
      rmSync(next, { force: true });
      throw error;
    }
  });
}

/** Does something to a folder whose restored mode may forbid it to all but root. */
function changing(folder: string, change: () => void): void {
  try {
    change();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error;
    const mode = lstatSync(folder).mode & 0o7777;
    chmodSync(folder, mode | 0o700);
    try {
      change();
    } finally {
      chmodSync(folder, mode);
    }
  }
}

function mtimeOf(folder: string): string {
  return String(lstatSync(folder, { bigint: true }).mtimeNs);
}

/** What counts is that it is gone, whatever the disk said. */
function unmark(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch (error) {
    if (existsSync(file)) throw error;
  }
}

/** Empties a folder that an earlier attempt of the same job has left. Returns whether it was there before; null if none left it. */
export async function takeOver(folder: string, job: string | null): Promise<{ existed: boolean } | null> {
  if (job === null) return null;
  const file = markerIn(folder, job);
  const left = readMarker(file);
  if (left) await emptyFolder(folder, path.basename(file));
  return left;
}

/** What an earlier attempt of the same job has come to, when it has made the folder whole; null when none has. */
export function wholeBefore(folder: string, job: string | null): RestoreResult | null {
  return job === null ? null : (readMarker(markerIn(folder, job))?.whole?.result ?? null);
}

/**
 * A restore that has made a folder whole is known to have ended well: the folder is whoever's it is for, without a trace
 * of how it came about. A folder that it has not made whole stays as it is. Idempotent.
 */
export function keepRestored(folder: string, job: string): void {
  for (const { folder: each, mtimeNs } of readMarker(markerIn(folder, job))?.whole?.folders ?? []) {
    changing(each, () => unmark(markerIn(each, job)));
    setMtime(Buffer.from(each), mtimeNs);
  }
}

/**
 * Removes what attempts of a restore, all of them over, have left of a folder: one that was killed could not. A folder
 * that it has not claimed, or that was kept, stays as it is. Idempotent.
 */
export async function discardRestored(folder: string, job: string): Promise<void> {
  const left = await takeOver(folder, job);
  if (!left) return;
  if (left.existed) rmSync(markerIn(folder, job), { force: true });
  else await removeTree(folder);
}

function markerIn(folder: string, job: string): string {
  return path.join(folder, `.restoring-${createHash('sha256').update(job).digest('hex').slice(0, 32)}`);
}

function readMarker(file: string): Marker | null {
  try {
    return marker.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || error instanceof SyntaxError) return null;
    throw error;
  }
}
