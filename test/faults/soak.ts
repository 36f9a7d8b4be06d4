import { mkdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Ending } from './storm/jobs.ts';
import { type Round, soakReport } from './storm/report.ts';
import { backUpAll, planStorm, storm } from './storm/storm.ts';
import { examine } from './storm/truth.ts';
import { startWorld } from './storm/world.ts';

/**
 * `npm run soak -- --kills N --seed N [--minutes M] [--write FILE]`: storms of SIGKILL, one after the other in one
 * world, each followed by a look at everything. Ends after so many kills or minutes, or with 1 at the first thing that
 * is wrong; what happened is printed, and written to the file.
 */

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '600' },
    write: { type: 'string' },
  },
});
const startedAt = new Date();
const from = performance.now();
const wanted = Number(values.kills);
const seed = Number(values.seed);
const untilMs = performance.now() + Number(values.minutes) * 60_000;
/** After so many kills all jobs are let end, and everything is looked at. */
const killsPerRound = 50;

const print = (line: string) =>
  process.stdout.write(`${((performance.now() - from) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
const rounds: Round[] = [];
const world = await startWorld();
try {
  const names = world.components.map(({ name }) => name);
  const earlier = await backUpAll(world);
  const done = () => rounds.reduce((sum, { kills }) => sum + kills.length, 0);
  while (done() < wanted && performance.now() < untilMs && rounds.every(({ problems }) => problems.length === 0)) {
    const roundSeed = seed + rounds.length;
    print(`round ${rounds.length + 1}, seed ${roundSeed}, after ${done()} kills`);
    const happened = await storm(world, planStorm(roundSeed, Math.min(killsPerRound, wanted - done()), names), print);
    print('every job has ended; looking at everything');
    const problems = await examine(world, happened, earlier);
    rounds.push({ seed: roundSeed, kills: happened.kills, endings: happened.jobs.map(summaryOf), problems });
    for (const problem of problems) print(`✗ ${problem}`);
    const report = soakReport({
      startedAt,
      seconds: (performance.now() - from) / 1000,
      seed,
      rounds,
      machine: machine(),
    });
    if (values.write) {
      await mkdir(path.dirname(path.resolve(values.write)), { recursive: true });
      await writeFile(values.write, report);
    }
    print(report);
  }
} finally {
  await world.stop();
}
process.exit(rounds.some(({ problems }) => problems.length > 0) ? 1 : 0);

function summaryOf({ kind, ending }: { kind: string; ending: Ending }): [string, string] {
  if (!('result' in ending)) return [kind, `failed: ${ending.failure}`];
  return [kind, 'outcome' in ending.result ? ending.result.outcome : 'succeeded'];
}

function machine(): string {
  const cpu = os.cpus()[0]?.model.trim() ?? 'unknown CPU';
  return `${os.availableParallelism()} × ${cpu}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()}, Node.js ${process.version}`;
}
