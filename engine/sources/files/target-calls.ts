import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { Failure } from '../../../policies/failure.ts';
import type { RestoreResult } from '../source.ts';
import { type Claim, claimFolder, discardRestored, keepRestored, takeOver, wholeBefore } from './claim.ts';
import { place } from './place.ts';

export type TargetCalls = ReturnType<typeof createTargetCalls>;

/** What is done to folders that something is restored into, for one restore. */
export function createTargetCalls() {
  const claims = new Map<string, Claim>();
  return {
    /**
     * Claims folders that are absent or empty, or left by an earlier attempt of the same job, the tree's own first. Returns
     * what that attempt has come to when it had made them whole. Throws TargetNotEmpty.
     */
    async claim({ folders, job }: { folders: string[]; job: string | null }): Promise<RestoreResult | null> {
      const before = folders[0] === undefined ? null : wholeBefore(folders[0], job);
      if (before) return before;
      for (const folder of folders) {
        const left = await takeOver(folder, job);
        const existed = prepare(folder);
        claims.set(folder, claimFolder(folder, left?.existed ?? existed, job));
      }
      return null;
    },

    place,

    /** What was claimed is whole, and on the disk. */
    async finish(restored: RestoreResult): Promise<void> {
      const [first, ...others] = claims;
      await first?.[1].finish(
        restored,
        others.map(([folder]) => folder),
      );
    },

    /** Removes what was written to what was claimed. */
    async undo(): Promise<void> {
      for (const claim of [...claims.values()].reverse()) await claim.undo();
    },

    keep: ({ folder, job }: { folder: string; job: string }): void => keepRestored(folder, job),
    discard: ({ folder, job }: { folder: string; job: string }): Promise<void> => discardRestored(folder, job),
  };
}

/** Whether it was there. */
function prepare(folder: string): boolean {
  let there: string[];
  try {
    there = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    makeFolder(folder);
    return false;
  }
  if (there.length === 0) return true;
  const some = there.slice(0, 5).join(', ') + (there.length > 5 ? ', …' : '');
  throw new Failure(
    'TargetNotEmpty',
    `${folder} is not empty: it holds ${there.length} ${there.length === 1 ? 'thing' : 'things'} (${some}).`,
    { next: 'Restore into a new or empty folder; nothing was written.' },
  );
}

/** With those above it. Node's own `recursive` never comes back where a folder cannot be, such as below /proc. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    const above = path.dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || existsSync(above)) throw error;
    makeFolder(above);
    mkdirSync(folder, { mode: 0o700 });
  }
}
