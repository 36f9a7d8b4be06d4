import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { feed, startTool } from '../../../engine/sources/postgres/tools.ts';

const start = (script: string) => {
  const { signal } = new AbortController();
  const running = startTool({ program: 'sh', args: ['-c', script], env: process.env, signal, stdin: true });
  running.stdout.resume();
  return running;
};

/** More than a pipe holds. */
async function* much(then?: Error) {
  for (let i = 0; i < 64; i++) yield Buffer.alloc(65_536, 'x');
  if (then) throw then;
}

describe('a tool that is fed', () => {
  test('may end well before it has read everything', async () => {
    const running = start('head -c 100 > /dev/null');
    await feed(Readable.from(much()), running);
    await running.finished;
  });

  test('says by itself why it ended badly', async () => {
    const running = start('head -c 100 > /dev/null; echo "no such table" >&2; exit 3');
    await feed(Readable.from(much()), running);
    await expect(running.finished).rejects.toThrow('no such table');
  });

  test('is not blamed when the content fails', async () => {
    const running = start('cat > /dev/null');
    await expect(feed(Readable.from(much(new Error('a block is damaged'))), running)).rejects.toThrow(
      'a block is damaged',
    );
    await running.finished;
  });
});
