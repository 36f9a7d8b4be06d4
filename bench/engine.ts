import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generateSigningKey } from '../engine/artifact/index.ts';
import { nodeEnvironment, nodeFlags } from '../workers/heap.ts';
import type { BenchContext } from './context.ts';
import { type Cost, measure } from './measure.ts';
import type { RunConfig } from './ours.ts';

const program = new URL('./ours.ts', import.meta.url).pathname;

/** The engine alone on one source, each run a process of its own; what it sends goes into the bucket `ours`. */
export interface Engine {
  /** Full, into an empty bucket. */
  backup(): Promise<Cost>;
  /** What has changed since the last backup. */
  incremental(): Promise<Cost>;
  /** The last backup. */
  restore(into: string): Promise<Cost>;
}

export async function engineOn(context: BenchContext, source: RunConfig['source']): Promise<Engine> {
  const { endpoint, accessKeyId, secretAccessKey } = context.s3;
  const store = { endpoint, accessKeyId, secretAccessKey, bucket: 'ours' };
  const argv = await engineCommand(context, { source, store, staging: stagingOf(context) });
  const run = (...args: string[]) => context.counted(() => measure({ argv: [...argv, ...args], env: nodeEnvironment }));
  let point = 0;
  return {
    async backup() {
      await context.freshBucket('ours');
      point = 0;
      return run('backup', 'point-0');
    },
    incremental: () => run('backup', `point-${point + 1}`, `point-${point++}`),
    restore: (into) => run('restore', `point-${point}`, into),
  };
}

/** The command line that runs the engine on a source, but for what it is to do: see bench/ours.ts. */
export async function engineCommand(
  { dir, recipient, identity }: BenchContext,
  what: Pick<RunConfig, 'source' | 'store' | 'staging'>,
): Promise<string[]> {
  const config: RunConfig = { ...what, recipient, identity, key: generateSigningKey() };
  const file = path.join(dir, `${what.source.name}.json`);
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return [process.execPath, ...nodeFlags, program, file];
}

export const stagingOf = ({ dir }: BenchContext): string => path.join(dir, 'staging');
