import { closeSync, constants, lstatSync, openSync } from 'node:fs';
import { serveCalls } from '../../side-thread-work.ts';
import { standBack } from '../../thread-priority.ts';
import { readOwnerNames } from './names.ts';
import { type PostedFound, posted } from './posted.ts';
import { bytesOf, inTree } from './raw-path.ts';
import { describe, type Found, type WalkOptions, walk } from './walk.ts';

/** The work of the thread that lists a tree: whatever hangs there, the main thread goes on. Paths are Latin-1. */

const batchMax = 512;
/** A batch is sent after so long, however small. */
const batchMs = 50;

const names = readOwnerNames();
let root: Buffer = Buffer.alloc(0);
let walking: AsyncGenerator<Found> | null = null;
let warnings: string[] = [];

const calls = {
  begin(options: Omit<WalkOptions, 'warn'>): void {
    root = Buffer.from(options.root);
    walking = walk({ ...options, warn: (line) => warnings.push(line) });
  },

  async more(): Promise<{ found: PostedFound[]; warnings: string[]; isLast: boolean }> {
    const found: PostedFound[] = [];
    const until = performance.now() + batchMs;
    let isLast = false;
    while (!isLast && found.length < batchMax && performance.now() < until) {
      const next = await walking?.next();
      if (!next || next.done) isLast = true;
      else found.push(posted(next.value));
    }
    const told = warnings;
    warnings = [];
    return { found, warnings: told, isLast };
  },

  /** Looks at a path once more; null when it is gone, or is no file by now. */
  look(latin1: string): PostedFound | null {
    const path = bytesOf(latin1);
    const file = inTree(root, path);
    try {
      const stats = lstatSync(file, { bigint: true });
      if (!stats.isFile()) return null;
      return posted({ file, entry: describe(path, file, stats, names), linked: stats.nlink > 1n });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  },

  /** The code of the error that opening a file for reading ends with. */
  openError(latin1: string): string | undefined {
    try {
      closeSync(openSync(inTree(root, bytesOf(latin1)), constants.O_RDONLY | constants.O_NOFOLLOW));
      return undefined;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error);
    }
  },
};
export type WalkCalls = typeof calls;

standBack();
serveCalls(calls);
