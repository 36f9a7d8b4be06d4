import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { nodeFlags } from '../workers/heap.ts';
import type { BenchContext } from './context.ts';
import { type Cost, measure } from './measure.ts';

const program = new URL('./ours.ts', import.meta.url).pathname;

/** The engine alone on one source, as a process of its own; what it sends goes into the bucket `ours`. */
export interface Engine {
  /** Into an empty bucket. */
  backup(): Promise<Cost>;
  restore(into: string): Promise<Cost>;
}

export async function engineOn(
  context: BenchContext,
  source: { name: string; kind: string } & Record<string, unknown>,
): Promise<Engine> {
  const { endpoint, accessKeyId, secretAccessKey } = context.s3;
  const config = path.join(context.dir, `${source.name}.json`);
  await writeFile(
    config,
    JSON.stringify({
      source,
      staging: stagingOf(context),
      s3: { endpoint, accessKeyId, secretAccessKey, bucket: 'ours' },
      recipient: context.recipient,
      identity: context.identity,
    }),
    { mode: 0o600 },
  );
  const run = (...args: string[]) =>
    context.counted(() => measure({ argv: [process.execPath, ...nodeFlags, program, ...args] }));
  return {
    async backup() {
      await context.freshBucket('ours');
      return run('backup', config);
    },
    restore: (into) => run('restore', config, into),
  };
}

export const stagingOf = ({ dir }: BenchContext): string => path.join(dir, 'staging');
