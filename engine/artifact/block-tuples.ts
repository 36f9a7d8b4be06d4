import { frameBlocksMax, frameBytesMax, frameCompressedMax } from './limits.ts';
import type { Block } from './types.ts';

/** A block as it stands in the manifest: a tuple, because there are millions of them (docs/format.md, section 7). */

type FrameTuple = [artifact: number, frameOffset: number, frameBytes: number];
type StretchTuple = [frame: number, offset: number, bytes: number];
type WholeTuple = [...FrameTuple, offset: number, bytes: number, sha256: string, pages?: string];
type PatchworkTuple = [bytes: number, sha256: string, frames: FrameTuple[], stretches: StretchTuple[], pages?: string];
export type BlockTuple = WholeTuple | PatchworkTuple;

function isWholeTuple(tuple: BlockTuple): tuple is WholeTuple {
  return typeof tuple[1] === 'number';
}

export function tupleOf(block: Block): BlockTuple {
  const { bytes, sha256 } = block;
  const pages: [string?] = block.pages === undefined ? [] : [block.pages];
  if (!('stretches' in block)) {
    return [block.artifact, block.frameOffset, block.frameBytes, block.offset, bytes, sha256, ...pages];
  }
  const frames: FrameTuple[] = [];
  const places = new Map<string, number>();
  const stretches = block.stretches.map(({ artifact, frameOffset, frameBytes, offset, bytes }): StretchTuple => {
    const place = `${artifact}:${frameOffset}`;
    const known = places.get(place);
    if (known !== undefined) return [known, offset, bytes];
    places.set(place, frames.length);
    return [frames.push([artifact, frameOffset, frameBytes]) - 1, offset, bytes];
  });
  return [bytes, sha256, frames, stretches, ...pages];
}

export function blockOf(tuple: BlockTuple): Block {
  if (isWholeTuple(tuple)) {
    const [artifact, frameOffset, frameBytes, offset, bytes, sha256, pages] = tuple;
    const block = { artifact, frameOffset, frameBytes, offset, bytes, sha256 };
    return pages === undefined ? block : { ...block, pages };
  }
  const [bytes, sha256, frames, places, pages] = tuple;
  const stretches = places.map(([frame, offset, length]) => {
    const [artifact, frameOffset, frameBytes] = frames[frame] as FrameTuple;
    return { artifact, frameOffset, frameBytes, offset, bytes: length };
  });
  const block = { bytes, sha256, stretches };
  return pages === undefined ? block : { ...block, pages };
}

/** Of the block. */
export function bytesOf(tuple: BlockTuple): number {
  return isWholeTuple(tuple) ? tuple[4] : tuple[0];
}

/** Whether it is a block that lies within what the format allows. @param artifacts that the manifest names */
export function isTuple(value: unknown, artifacts: number): value is BlockTuple {
  if (!Array.isArray(value)) return false;
  const tuple = value as BlockTuple;
  if (!isWholeTuple(tuple)) return isPatchwork(tuple, artifacts);
  const [artifact, frameOffset, frameBytes, offset, bytes, sha256, pages = ''] = tuple;
  const isPlaced = isFrame([artifact, frameOffset, frameBytes], artifacts) && isWithin(offset, bytes);
  return isPlaced && isHash(sha256) && typeof pages === 'string' && tuple.length <= 7;
}

function isPatchwork(tuple: PatchworkTuple, artifacts: number): boolean {
  const [bytes, sha256, frames, stretches, pages = ''] = tuple;
  if (!isHash(sha256) || typeof pages !== 'string' || tuple.length > 5) return false;
  if (!Array.isArray(frames) || !Array.isArray(stretches) || stretches.length > frameBlocksMax) return false;
  if (!frames.every((frame) => Array.isArray(frame) && isFrame(frame, artifacts))) return false;
  const isStretch = (stretch: StretchTuple) =>
    Array.isArray(stretch) &&
    stretch.length === 3 &&
    isCount(stretch[0], frames.length - 1) &&
    isWithin(stretch[1], stretch[2]);
  return stretches.every(isStretch) && bytes > 0 && sumOf(stretches) === bytes && bytes <= frameBytesMax;
}

function isFrame([artifact, frameOffset, frameBytes, ...more]: FrameTuple, artifacts: number): boolean {
  const isPlaced = isCount(artifact, artifacts - 1) && isCount(frameOffset) && isCount(frameBytes, frameCompressedMax);
  return isPlaced && more.length === 0;
}

/** A stretch of what a frame may hold. */
function isWithin(offset: number, bytes: number): boolean {
  return isCount(offset, frameBytesMax) && isCount(bytes, frameBytesMax - offset) && bytes > 0;
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && value.length === 64;
}

function sumOf(stretches: StretchTuple[]): number {
  return stretches.reduce((sum, [, , bytes]) => sum + bytes, 0);
}

export function isCount(value: unknown, max = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
}
