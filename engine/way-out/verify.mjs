import { measureFrame, readFrame } from './frames.mjs';
import { compareObject, hasObject } from './point.mjs';
import { Problem } from './problem.mjs';
import { printable } from './text.mjs';

/** @typedef {import('./content.mjs').OpenPoint} OpenPoint */
/** @typedef {import('./manifest.mjs').Stretch} Stretch */

/**
 * Reads all of a point: length and SHA-256 of every object, every segment, every frame without gap, every block.
 *
 * @param {OpenPoint} open
 * @param {{ onProblem: (what: string) => void, onBytes: (bytes: number) => void }} options
 * @returns {{ entries: number, blocks: number, bytes: number }} what was read
 */
export function verifyPoint(open, { onProblem, onBytes }) {
  const { backup } = open.point;
  const counts = { entries: 0, blocks: 0, bytes: 0 };
  const collecting = (/** @type {() => void} */ work) => {
    try {
      work();
      return true;
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'damage') throw error;
      onProblem(error.message);
      return false;
    }
  };
  for (const role of /** @type {const} */ (['key', 'manifest', 'artifact'])) {
    // A key that was rotated away is no loss: the point was opened by a later one.
    if (role === 'key' && !hasObject(open.point, role)) continue;
    collecting(() => {
      const wrong = compareObject(open.point, role);
      if (wrong) onProblem(wrong);
    });
  }
  const walk = new FrameWalk(open);
  const named = collecting(() => {
    let name = '';
    /** @type {number | null} */
    let expected = null;
    let size = 0;
    const finish = () => {
      if (expected !== null && size !== expected)
        onProblem(`${name}: its blocks hold ${size} bytes, its entry names ${expected}`);
    };
    for (const item of open.items()) {
      if (item.kind === 'entry') {
        finish();
        const { entry } = item;
        name = printable(entry.path);
        expected = entry.type === 'file' && !entry.streamed ? entry.size : null;
        size = 0;
        counts.entries++;
      } else if (item.kind === 'block') {
        const { block } = item;
        counts.blocks++;
        size += block.bytes;
        const own = block.stretches.filter(({ artifact }) => artifact === 0);
        for (const { frameOffset } of own) collecting(() => walk.to(frameOffset));
        try {
          open.read(block);
          counts.bytes += block.bytes;
          for (const stretch of own) walk.pass(stretch);
          onBytes(block.bytes);
        } catch (error) {
          if (!(error instanceof Problem) || error.kind !== 'damage') throw error;
          onProblem(`${name}: ${error.message}`);
          for (const stretch of own) walk.skip(stretch);
        }
      }
    }
    finish();
    if (counts.entries !== backup.content.entries)
      onProblem(`the manifest has ${counts.entries} entries, backup.json names ${backup.content.entries}`);
  });
  const whole = collecting(() => walk.to(open.artifact(0).plainBytes));
  if (named && whole && !walk.skipped && walk.contentBytes !== backup.content.bytes)
    onProblem(`the frames hold ${walk.contentBytes} bytes, backup.json names ${backup.content.bytes}`);
  return counts;
}

/** Goes over the point's own artifact frame by frame, those that no entry names included. */
class FrameWalk {
  /** @param {OpenPoint} open */
  constructor(open) {
    this.open = open;
    this.at = 0;
    this.contentBytes = 0;
    /** Something could not be read, so that the sum says nothing. */
    this.skipped = false;
  }

  /** Reads the frames before a place. @param {number} end */
  to(end) {
    const artifact = this.open.artifact(0);
    while (this.at < end) {
      const from = this.at;
      try {
        const bytes = measureFrame(artifact, from);
        this.contentBytes += readFrame(artifact, from, bytes).length;
        this.at = from + bytes;
      } catch (error) {
        // Whatever is wrong here, the walk goes on behind it.
        this.at = end;
        this.skipped = true;
        throw error;
      }
    }
  }

  /** A frame that was read for its blocks. @param {Stretch} stretch */
  pass({ frameOffset, frameBytes }) {
    if (frameOffset !== this.at) return;
    this.contentBytes += this.open.frame(0, frameOffset, frameBytes).length;
    this.at = frameOffset + frameBytes;
  }

  /** A frame that could not be read. @param {Stretch} stretch */
  skip({ frameOffset, frameBytes }) {
    this.skipped = true;
    if (frameOffset === this.at) this.at = frameOffset + frameBytes;
  }
}
