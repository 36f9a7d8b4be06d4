import type { Block, Stretch } from './types.ts';

/** Where a block's bytes lie, in order. */
export function stretchesOf(block: Block): Stretch[] {
  return 'stretches' in block ? block.stretches : [block];
}

/** A block of an earlier point as a new one refers to it, whose own artifact comes first in its list. */
export function inherited(block: Block): Block {
  if ('stretches' in block) return { ...block, stretches: block.stretches.map(shifted) };
  return shifted(block);
}

function shifted<T extends Stretch>(stretch: T): T {
  return { ...stretch, artifact: stretch.artifact + 1 };
}

/** A run of bytes within a block. */
export interface Run {
  offset: number;
  bytes: number;
}

/**
 * An earlier block with some of its bytes replaced, and its length another: of its stretches, what is left of them
 * around the runs, and for each run the next bytes of what was stored of them.
 *
 * @param before lies elsewhere; covers all that no run does
 * @param runs in order, not touching each other
 * @param stored holds the runs' bytes, one after the other
 */
export function patched(
  before: Block,
  { bytes, sha256, pages }: Pick<Block, 'bytes' | 'sha256' | 'pages'>,
  runs: Run[],
  stored: Stretch | null,
): Block {
  const stretches: Stretch[] = [];
  const add = (stretch: Stretch) => {
    const last = stretches.at(-1);
    if (last && follows(last, stretch))
      stretches[stretches.length - 1] = { ...last, bytes: last.bytes + stretch.bytes };
    else stretches.push(stretch);
  };
  const old = createCutter(stretchesOf(before));
  let at = 0;
  let taken = 0;
  for (const run of [...runs, { offset: bytes, bytes: 0 }]) {
    for (const stretch of old(at, run.offset - at)) add(stretch);
    if (run.bytes > 0 && stored) add({ ...stored, offset: stored.offset + taken, bytes: run.bytes });
    taken += run.bytes;
    at = run.offset + run.bytes;
  }
  const facts = { bytes, sha256, ...(pages === undefined ? {} : { pages }) };
  const [only] = stretches;
  return only && stretches.length === 1 ? { ...only, ...facts } : { ...facts, stretches };
}

function follows(last: Stretch, next: Stretch): boolean {
  const isSameFrame = last.artifact === next.artifact && last.frameOffset === next.frameOffset;
  return isSameFrame && last.offset + last.bytes === next.offset;
}

/** Gives out what stretches hold from one place to another; places never go back. */
function createCutter(stretches: Stretch[]) {
  let index = 0;
  /** Where the stretch at hand begins. */
  let start = 0;
  return function* cut(from: number, bytes: number): Generator<Stretch> {
    const end = from + bytes;
    while (index < stretches.length) {
      const stretch = stretches[index] as Stretch;
      const low = Math.max(from, start);
      const high = Math.min(end, start + stretch.bytes);
      if (high > low) {
        const { artifact, frameOffset, frameBytes, offset } = stretch;
        yield { artifact, frameOffset, frameBytes, offset: offset + low - start, bytes: high - low };
      }
      if (start + stretch.bytes > end) return;
      start += stretch.bytes;
      index++;
    }
  };
}
