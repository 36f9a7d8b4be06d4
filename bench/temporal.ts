import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Role, roles } from '../policies/queues.ts';
import { startWhole } from '../test/support/whole.ts';
import type { BackupResult, Phase } from '../workflows/contracts.ts';
import { type BenchContext, factsOf, mib, ratio, table } from './context.ts';
import { engineOn } from './engine.ts';
import { makeTree } from './tree.ts';

interface Run {
  sealMs: number;
  phases: Phase[];
  aloneSealMs: number;
}

/**
 * The same tree by the engine alone, and by the whole of it: workflows, one worker a role, one copy in S3, validated by
 * a restore and read back.
 */
export async function benchTemporal(context: BenchContext, size: { files: number; bytes: number }): Promise<string> {
  const tree = path.join(context.dir, 'tree');
  makeTree(tree, size.files, size.bytes);
  const source = { name: 'tree', kind: 'files', path: tree };
  const engine = await engineOn(context, source);
  const whole = await startWhole({
    sources: () => [source],
    adapt: (policy) => {
      policy.copies = policy.copies.filter((copy) => copy.name === 's3-east');
    },
  });
  try {
    const runs: Run[] = [];
    const peaks = new Map<Role, number>();
    for (let round = 0; round < context.rounds; round++) {
      const alone = await engine.backup();
      const input = { source: 'tree', level: 'full' };
      const { phases } = await whole.client.workflow.execute<() => Promise<BackupResult>>('backup', {
        taskQueue: 'coordination',
        workflowId: `bench-${round}`,
        args: [input] as never,
      });
      runs.push({ phases, sealMs: msOf(phases, 'seal'), aloneSealMs: factsOf(alone).sealedMs ?? 0 });
      for (const role of roles) peaks.set(role, await peakMiB(whole.workers.pid(role)));
      process.stderr.write(
        `  alone ${alone.wallS.toFixed(1)} s; ${phases.map((p) => `${p.name} ${p.durationMs} ms`).join(', ')}\n`,
      );
    }
    const run = runs.sort((a, b) => a.sealMs / a.aloneSealMs - b.sealMs / b.aloneSealMs)[Math.floor(runs.length / 2)];
    if (!run) throw new RangeError('nothing was measured');
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    return [
      `## Through Temporal: ${size.files} files, ${mib(size.bytes)} MiB, full, one copy in S3`,
      '',
      `Sealing, with the artifact sent beside it: ${seconds(run.sealMs)} s through Temporal, ${seconds(run.aloneSealMs)} s by the engine alone; ` +
        `that is ${ratio(run.aloneSealMs, run.sealMs)} of its speed. The phases of the whole job, validation by a restore and reading back included:`,
      '',
      table(
        ['phase', 's'],
        run.phases.map(({ name, durationMs }) => [name, seconds(durationMs)]),
      ),
      '',
      'The most memory that each worker held, over all rounds:',
      '',
      table(['worker', 'MiB'], [...peaks]),
    ].join('\n');
  } finally {
    await whole.stop();
    await rm(tree, { recursive: true, force: true });
  }
}

function msOf(phases: Phase[], name: Phase['name']): number {
  return phases.find((p) => p.name === name)?.durationMs ?? 0;
}

/** Of the process as it is, since it began. */
async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
