import { Failure } from '../../policies/failure.ts';
import { acquireFramePool } from './frame-pool.ts';
import { frameCompressedMax } from './limits.ts';
import { splitFrames } from './zstd-frames.ts';

/** Far more than any entry with its attributes, or a line of blocks. */
const lineLengthMax = 16 * 1024 * 1024;

/** The lines of a manifest from its compressed frames. Throws Corrupt. */
export async function* manifestLines(compressedFrames: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const pool = acquireFramePool();
  let rest = '';
  const decoder = new TextDecoder();
  try {
    for await (const compressed of splitFrames(compressedFrames, frameCompressedMax)) {
      const { content, problems } = await pool.unpack({ compressed, blocks: [], wantContent: true });
      if (problems[0] || !content) throw corrupt(`a frame of the manifest ${problems[0]?.what ?? 'is empty'}`);
      rest += decoder.decode(content, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > lineLengthMax) throw corrupt('a line of the manifest has no end');
      yield* lines;
    }
    if (rest !== '') yield rest;
  } finally {
    await pool.release();
  }
}

function corrupt(what: string): Failure {
  return new Failure('Corrupt', `The recovery point is damaged: ${what}.`, {
    next: 'Use another copy of this recovery point; "backupctl backup verify" shows which are good.',
  });
}
