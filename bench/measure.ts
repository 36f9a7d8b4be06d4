import { execFile, spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

/** What one whole run of a command cost. */
export interface Cost {
  wallS: number;
  /** User and system time of all its processes. */
  cpuS: number;
  /** Of its largest process. */
  rssMiB: number;
  /** What it printed. */
  output: string;
  /** What it asked of the S3 server, where that was counted: objects or ranges read; objects and parts written. */
  requests?: { gets: number; puts: number };
}

export interface MeasureOptions {
  argv: string[];
  env?: Record<string, string>;
  cwd?: string;
}

/**
 * Runs a command under time(1) and returns what it cost, once what ran before it is on the disk: each pays for what it
 * writes itself, at the most. Throws, with the end of its output, when it fails.
 */
export async function measure({ argv, env = {}, cwd }: MeasureOptions): Promise<Cost> {
  await promisify(execFile)('sync');
  const report = path.join(tmpdir(), `bench-time-${process.pid}-${Math.round(performance.now() * 1000)}`);
  const child = spawn('/usr/bin/time', ['-o', report, '-f', '%e %U %S %M', ...argv], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd ? { cwd } : {}),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-20_000);
    });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // There is none when time(1) itself was ended.
  const times = code === 0 ? await readFile(report, 'utf8') : '';
  await rm(report, { force: true });
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}: ${output.slice(-2_000)}`);
  const [wall, user, system, kib] = times.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  return { wallS: wall ?? 0, cpuS: (user ?? 0) + (system ?? 0), rssMiB: Math.round((kib ?? 0) / 1024), output };
}

/** Runs several commands in turn (A B C A B C …), so that a machine that gets slower is slower for all. */
export async function inTurn<K extends string>(
  rounds: number,
  runs: Record<K, () => Promise<Cost>>,
): Promise<Record<K, Cost>> {
  const all = {} as Record<K, Cost[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of Object.keys(runs) as K[]) {
      const cost = await runs[name]();
      all[name] = [...(all[name] ?? []), cost];
      process.stderr.write(`  ${name} ${cost.wallS.toFixed(1)} s, ${cost.rssMiB} MiB\n`);
    }
  }
  const result = {} as Record<K, Cost>;
  for (const name of Object.keys(runs) as K[]) result[name] = byMedianWall(all[name]);
  return result;
}

function byMedianWall(costs: Cost[]): Cost {
  const sorted = [...costs].sort((a, b) => a.wallS - b.wallS);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (!middle) throw new RangeError('nothing was measured');
  return middle;
}
