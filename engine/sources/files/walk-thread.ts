import { closeSync, constants, lstatSync, openSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { isFailure } from '../../../policies/failure.ts';
import { standBack } from '../../thread-priority.ts';
import { readOwnerNames } from './names.ts';
import { bytesOf, inTree } from './raw-path.ts';
import { describe, type Found, walk } from './walk.ts';
import {
  endOfWalk,
  type Numbered,
  type PostedFound,
  posted,
  type WalkReply,
  type WalkRequest,
} from './walk-requests.ts';

/** The work of the thread that lists a tree: whatever hangs there, the main thread goes on. */

const batchMax = 512;
/** A batch is sent after so long, however small. */
const batchMs = 50;

const names = readOwnerNames();
let root: Buffer = Buffer.alloc(0);
let walking: AsyncGenerator<Found> | null = null;
let warnings: string[] = [];

async function more(): Promise<WalkReply> {
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
  return { kind: 'found', found, warnings: told, isLast };
}

/** Looks at a path once more; null when it is gone, or is no file by now. */
function look(path: Buffer): PostedFound | null {
  const file = inTree(root, path);
  try {
    const stats = lstatSync(file, { bigint: true });
    if (!stats.isFile()) return null;
    return posted({ file, entry: describe(path, file, stats, names), linked: stats.nlink > 1n });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** The code of the error that opening a file for reading ends with. */
function openError(path: Buffer): string | undefined {
  try {
    closeSync(openSync(inTree(root, path), constants.O_RDONLY | constants.O_NOFOLLOW));
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

async function done(request: WalkRequest): Promise<WalkReply> {
  switch (request.kind) {
    case 'begin':
      root = Buffer.from(request.options.root);
      walking = walk({ ...request.options, warn: (line) => warnings.push(line) });
      return { kind: 'begun' };
    case 'more':
      return more();
    case 'look':
      return { kind: 'looked', found: look(bytesOf(request.path)) };
    case 'open':
      return { kind: 'opened', errno: openError(bytesOf(request.path)) };
  }
}

function failed(error: unknown): WalkReply {
  return {
    kind: 'failed',
    failure: isFailure(error) ? { type: error.type, next: error.next } : null,
    errno: (error as NodeJS.ErrnoException).code,
    message: error instanceof Error ? error.message : String(error),
  };
}

standBack();

parentPort?.on('message', (request: Numbered<WalkRequest> | typeof endOfWalk) => {
  if (request === endOfWalk) {
    parentPort?.close();
    return;
  }
  void done(request)
    .catch(failed)
    .then((reply) => parentPort?.postMessage({ ...reply, id: request.id }));
});
