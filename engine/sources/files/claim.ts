import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { emptyFolder, removeTree } from './remove.ts';

/**
 * A restore that is killed leaves a half-written folder. While it writes, a marker in the folder says whose it is: the
 * next attempt of the same restore may empty it, everybody else finds it not empty.
 */
export interface Claim {
  /** The folder is whole: no attempt may empty it any more. Repeating it changes nothing. */
  release(): void;
  /** Removes what was written, unless another attempt has taken the folder over meanwhile. */
  undo(): Promise<void>;
}

const marker = z.object({
  attempt: z.string(),
  /** False when the folder was made for the restore. */
  existed: z.boolean(),
});

/** @param job names the restore over all its attempts; null for one that is never tried again */
export function claimFolder(folder: string, existed: boolean, job: string | null): Claim {
  const file = job === null ? null : markerIn(folder, job);
  const attempt = randomUUID();
  if (file) mark(file, { attempt, existed });
  let isReleased = false;
  return {
    release() {
      if (file && !isReleased) unmark(file);
      isReleased = true;
    },
    async undo() {
      if (file && !isReleased && readMarker(file)?.attempt !== attempt) return;
      // The marker goes last: what is only half emptied is still known as ours.
      await emptyFolder(folder, file ? path.basename(file) : undefined);
      if (!existed) await removeTree(folder);
    },
  };
}

/** Leaves nothing when it fails: half a marker is nobody's, and in everybody's way. */
function mark(file: string, content: z.infer<typeof marker>): void {
  try {
    writeFileSync(file, JSON.stringify(content), { mode: 0o600 });
  } catch (error) {
    rmSync(file, { force: true });
    if (!content.existed) rmdirSync(path.dirname(file));
    throw error;
  }
}

/** What counts is that it is gone: then the folder is whole, whatever the disk said. */
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

/**
 * Removes what attempts of a restore, all of them over, have left of a folder: one that was killed could not. A folder
 * that it has not claimed, or has made whole, stays as it is. Idempotent.
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

function readMarker(file: string): z.infer<typeof marker> | null {
  try {
    return marker.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR' || error instanceof SyntaxError) return null;
    throw error;
  }
}
