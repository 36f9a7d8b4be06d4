import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import { coordinatorWorkflowId } from '../../workflows/contracts.ts';
import { prepare, scenarios } from './scenarios.ts';
import { Stage } from './stage.ts';

/**
 * `npm run record-histories [NAME…]`: plays scenarios (test/workflows/scenarios.ts) on a development server of its own, and
 * keeps each history in test/workflows/histories, which test/workflows/replay.test.ts replays. Without names, all of
 * them anew, and those of scenarios that are no more are removed. When that is allowed:
 * docs/decisions/006-workflow-versions.md.
 */

const folder = path.join(import.meta.dirname, 'histories');

async function main(names: string[]): Promise<void> {
  const unknown = names.filter((name) => !(name in scenarios));
  if (unknown.length > 0)
    throw new Error(`No such scenario: ${unknown.join(', ')}. There are: ${Object.keys(scenarios).join(', ')}`);
  await mkdir(folder, { recursive: true });
  if (names.length === 0) for (const name of await readdir(folder)) await rm(path.join(folder, name));
  const temporal = await startTemporal({});
  try {
    const stage = await Stage.on(temporal);
    try {
      for (const [name, play] of Object.entries(scenarios)) {
        if (names.length > 0 && !names.includes(name)) continue;
        prepare(stage);
        const { workflowId, runId } = await play(stage);
        const history = await stage.client.workflow.getHandle(workflowId, runId).fetchHistory();
        const { events } = slim(JSON.parse(JSON.stringify(history)) as { events: object[] });
        // One event per line, so that a change can be read.
        const text = `{"events":[\n${events.map((event) => JSON.stringify(event)).join(',\n')}\n]}\n`;
        await writeFile(path.join(folder, `${name}.json`), text);
        process.stdout.write(`${name}: ${events.length} events, ${Math.ceil(text.length / 1024)} KiB\n`);
        await stage.client.workflow
          .getHandle(coordinatorWorkflowId)
          .terminate('the scenario is over')
          .catch(() => {});
      }
    } finally {
      await stage.close();
    }
  } finally {
    await temporal.stop();
  }
}

/** What names this machine or its files, and what no replay looks at. */
const dropped = new Set(['identity', 'stackTrace', 'retryPolicy', 'requestId', 'links', 'sourceRef']);

function slim<T>(value: T): T {
  if (Array.isArray(value)) return value.map(slim) as T;
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !dropped.has(key));
  const slimmed = Object.fromEntries(kept.map(([key, part]) => [key, slim(part)]));
  // A worker's own queue is named after its machine.
  return (slimmed.kind === 'TASK_QUEUE_KIND_STICKY' ? { ...slimmed, name: 'sticky' } : slimmed) as T;
}

await main(process.argv.slice(2));
process.exit();
