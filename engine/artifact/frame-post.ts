import { types } from 'node:util';
import { ownsMemory } from '../give-back.ts';
import type { ThreadJob } from './frame-jobs.ts';
import type { FileIdentity, Piece } from './types.ts';

/** Posted to a thread in the place of a job: there will be no more. */
export const endOfWork = 'end';

/**
 * Makes a job fit for posting. A view that is posted as it stands takes *all* the memory it looks into along, be it an
 * 8 MiB range or Node's pool of small buffers; so large views that own their memory are handed over, and everything
 * else is packed side by side into one piece of memory, which is handed over as well.
 */
export function portable<T extends ThreadJob>(job: T): { job: T; transfer: ArrayBuffer[] } {
  const views = viewsOf(job);
  const transfer = new Set<ArrayBuffer>();
  let bytes = 0;
  for (const view of views) {
    if (ownsMemory(view)) transfer.add(view.buffer);
    else bytes += view.length;
  }
  const arena = new Uint8Array(bytes);
  if (bytes > 0) transfer.add(arena.buffer);
  let at = 0;
  const move = (view: Uint8Array): Uint8Array => {
    if (ownsMemory(view)) return view;
    const moved = arena.subarray(at, at + view.length);
    moved.set(view);
    at += view.length;
    return moved;
  };
  return { job: withViews(job, move), transfer: [...transfer] };
}

/** Whether some of a job's bytes went with it when it was posted. */
export function wasHandedOver(job: ThreadJob): boolean {
  return viewsOf(job).some(({ buffer }) => types.isArrayBuffer(buffer) && buffer.detached);
}

/** The memory that a job which arrived brought along. */
export function buffersOf(job: ThreadJob): Set<ArrayBuffer> {
  return new Set(viewsOf(job).flatMap(({ buffer }) => (types.isArrayBuffer(buffer) ? [buffer] : [])));
}

/** The files that a job reads or writes; raw bytes. */
export function pathsOf(job: ThreadJob): Uint8Array[] {
  switch (job.kind) {
    case 'unpack':
      return job.blocks.flatMap((b) => (b.target ? [b.target.path] : []));
    case 'examine':
      return [];
    case 'compare':
      return job.blocks.map((b) => b.path);
    case 'pack':
      return job.pieces.flatMap((p) => (p.kind === 'file' ? [p.path] : []));
  }
}

function viewsOf(job: ThreadJob): Uint8Array[] {
  switch (job.kind) {
    case 'unpack':
      return [job.compressed, ...pathsOf(job)];
    case 'examine':
      return [job.bytes];
    case 'compare':
      return pathsOf(job);
    case 'pack':
      return job.pieces.flatMap((p) => (p.kind === 'bytes' ? [p.bytes] : p.kind === 'file' ? [p.path] : []));
  }
}

function withViews<T extends ThreadJob>(job: T, move: (view: Uint8Array) => Uint8Array): T {
  switch (job.kind) {
    case 'unpack': {
      const blocks = job.blocks.map((b) => {
        return b.target ? { ...b, target: { ...b.target, path: move(b.target.path) } } : b;
      });
      return { ...job, compressed: move(job.compressed), blocks };
    }
    case 'examine':
      return { ...job, bytes: move(job.bytes) };
    case 'compare':
      return { ...job, blocks: job.blocks.map((b) => ({ ...b, path: move(b.path) })) };
    case 'pack':
      return { ...job, pieces: job.pieces.map((p) => withView(p, move)) };
  }
}

function withView(piece: Piece, move: (view: Uint8Array) => Uint8Array): Piece {
  if (piece.kind === 'bytes') return { ...piece, bytes: move(piece.bytes) };
  if (piece.kind === 'file') return { ...piece, path: move(piece.path), expect: identityOf(piece.expect) };
  return piece;
}

/** Whatever else the caller's object carries stays here. */
function identityOf({ size, mtimeNs, ctimeNs, dev, ino }: FileIdentity): FileIdentity {
  return { size, mtimeNs, ctimeNs, dev, ino };
}
