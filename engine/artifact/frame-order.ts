import type { Stretch } from './types.ts';

/**
 * Blocks, or stretches of them, that come in the order of a manifest, gathered by frame and brought into the order of the artifact as far as a
 * window allows: a base backup's files come sorted in the one, and as a server found them in the other.
 */

/** Planned together while they come nearly in order, as those of a tree do … */
const windowBlocks = 8_192;
/** … and while they do not, which is so when one in so many lies before the one before it. */
const disorderedWindowBlocks = 65_536;
const disorderedShare = 200;

/**
 * Cuts a stream of blocks, and what belongs to each, into windows: small ones while they come in order, large ones
 * otherwise. What came before the stream fails is given out before that failure.
 */
export async function* windowsOf<T>(
  items: AsyncIterable<T>,
  placeOf: (item: T) => Pick<Stretch, 'artifact' | 'frameOffset'>,
): AsyncGenerator<T[]> {
  let window: T[] = [];
  /** Where the last frame lay, by artifact. */
  let lasts: number[] = [];
  let steps = 0;
  let failed: { error: unknown } | null = null;
  const source = items[Symbol.asyncIterator]();
  const next = async () => {
    try {
      return await source.next();
    } catch (error) {
      failed = { error };
      return { done: true as const, value: undefined };
    }
  };
  try {
    for (let item = await next(); !item.done; item = await next()) {
      window.push(item.value);
      const { artifact, frameOffset } = placeOf(item.value);
      if (frameOffset < (lasts[artifact] ?? 0)) steps++;
      lasts[artifact] = frameOffset;
      const limit = steps > window.length / disorderedShare ? disorderedWindowBlocks : windowBlocks;
      if (window.length < limit) continue;
      yield window;
      window = [];
      lasts = [];
      steps = 0;
    }
    if (window.length > 0) yield window;
    if (failed) throw (failed as { error: unknown }).error;
  } finally {
    // Whoever takes no more windows has the stream closed, too.
    await source.return?.();
  }
}

/** A window's items by frame, the frames in the order of each artifact. */
export function byFrame<T>(window: T[], placeOf: (item: T) => Stretch): T[][] {
  const frames = new Map<string, T[]>();
  for (const item of window) {
    const { artifact, frameOffset, frameBytes } = placeOf(item);
    const name = `${artifact}:${frameOffset}:${frameBytes}`;
    const frame = frames.get(name);
    if (frame) frame.push(item);
    else frames.set(name, [item]);
  }
  return [...frames.values()].sort((a, b) => {
    const [x, y] = [placeOf(a[0] as T), placeOf(b[0] as T)];
    return x.artifact - y.artifact || x.frameOffset - y.frameOffset;
  });
}
