import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { parse, stringify } from 'yaml';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import type { RunningTemporal } from '../../scripts/stack/types.ts';
import { backupctl } from '../client/terminal.ts';
import { examplePolicy } from '../policies/example-policy.ts';

/** A server of its own: schedules of one policy are all schedules of a namespace. */
let temporal: RunningTemporal;
let connection: Connection;
let client: Client;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'schedules-'));
  temporal = await startTemporal({});
  connection = await Connection.connect({ address: temporal.address });
  client = new Client({ connection });
});
afterAll(async () => {
  await connection?.close();
  await temporal?.stop();
  await rm(dir, { recursive: true, force: true });
});

interface Names {
  id: string;
}
interface Applied {
  applied: boolean;
  create: Names[];
  update: (Names & { differences: string[] })[];
  remove: Names[];
  same: Names[];
}
interface Listed {
  schedules: { source: string; state: string; note: string; next: { at: string; classes: string[] } | null }[];
}

/** Runs backupctl on a policy with these changes. */
async function run<T>(argv: string[], adapt: (policy: Record<string, unknown>) => void = () => {}): Promise<T> {
  const policy = parse(examplePolicy) as Record<string, unknown>;
  policy.temporal = { address: temporal.address };
  // Applying a policy that locks asks its buckets whether they can.
  for (const copy of policy.copies as { lock?: object }[]) delete copy.lock;
  adapt(policy);
  const file = path.join(dir, `${randomUUID()}.yaml`);
  await writeFile(file, stringify(policy));
  const { exitCode, stdout, stderr } = await backupctl(['--policy', file, '--json', ...argv]);
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} ended with ${exitCode}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as T;
}

const ids = (schedules: Names[]) => schedules.map((s) => s.id).sort();
const laterDaily = (policy: Record<string, unknown>) => {
  policy.calendar = { timeZone: 'Europe/Berlin', daily: { at: '05:30' } };
};

describe("Temporal's schedules", () => {
  test('are what the policy says, once it is applied; a diff before that changes nothing', async () => {
    const diff = await run<Applied>(['policy', 'diff']);
    expect(diff.applied).toBe(false);
    expect(diff.create.length).toBeGreaterThan(0);
    const applied = await run<Applied>(['policy', 'apply']);
    expect(ids(applied.create)).toEqual(ids(diff.create));
    const again = await run<Applied>(['policy', 'apply']);
    expect(again).toMatchObject({ create: [], update: [], remove: [] });
    expect(ids(again.same)).toEqual(ids(diff.create));
  });

  test('keep what was promised, for the next policy to be compared with', async () => {
    const promise = async () => {
      const { action } = await client.schedule.getHandle('retention').describe();
      return action.memo as { promised?: { calendar: { daily: { at: string } } } };
    };
    expect((await promise()).promised?.calendar.daily.at).toBe('02:00');
    await run(['policy', 'apply'], laterDaily);
    expect((await promise()).promised?.calendar.daily.at).toBe('05:30');
    await run(['policy', 'apply']);
    expect(await promise()).toMatchObject({ definition: {}, promised: { calendar: { daily: { at: '02:00' } } } });
    expect(await run(['policy', 'diff'])).toMatchObject({ create: [], update: [], remove: [] });
  });

  test('wake scheduledBackup for their source, in the time zone of the calendar', async () => {
    const { spec, action, policies } = await client.schedule.getHandle('backup/shop').describe();
    expect(action).toMatchObject({ workflowType: 'scheduledBackup', args: [{ source: 'shop' }] });
    expect(spec.timezone).toBe('Europe/Berlin');
    expect(policies.overlap).toBe('BUFFER_ONE');
  });

  test('stay paused when the policy changes, with who paused them and why', async () => {
    await run(['schedule', 'pause', 'shop', '--operator', 'alex', '--reason', 'the disk is being changed']);
    const { update } = await run<Applied>(['policy', 'apply'], laterDaily);
    expect(update.find((s) => s.id === 'backup/shop')?.differences).toContain(
      'daily: hour 2, minute 0 → hour 5, minute 30',
    );
    const { schedules } = await run<Listed>(['schedule', 'list'], laterDaily);
    expect(schedules.find((s) => s.source === 'shop')).toMatchObject({
      state: 'paused',
      note: 'alex: the disk is being changed',
    });
    await run(['schedule', 'resume', 'shop', '--operator', 'alex', '--reason', 'done'], laterDaily);
    const after = await run<Listed>(['schedule', 'list'], laterDaily);
    expect(after.schedules.find((s) => s.source === 'shop')?.state).toBe('on');
  });

  test('go with their source, and others are left alone', async () => {
    await client.schedule.create({
      scheduleId: 'somebody-elses',
      spec: {},
      action: { type: 'startWorkflow', workflowType: 'other', taskQueue: 'other' },
      state: { paused: true },
    });
    const fewer = (policy: Record<string, unknown>) => {
      policy.sources = (policy.sources as { name: string }[]).filter((s) => s.name !== 'shop');
    };
    // What lists schedules learns of new ones a moment later.
    for (let removed: string[] = []; !removed.includes('backup/shop'); ) {
      removed = ids((await run<Applied>(['policy', 'diff'], fewer)).remove);
      expect(removed).not.toContain('somebody-elses');
      await setTimeout(200);
    }
    expect(ids((await run<Applied>(['policy', 'apply'], fewer)).remove)).toEqual(['backup/shop']);
    await expect(client.schedule.getHandle('somebody-elses').describe()).resolves.toBeDefined();
    await expect(client.schedule.getHandle('backup/shop').describe()).rejects.toThrow();
  });

  test('can be triggered: what is due next is started now', async () => {
    const { workflowId } = await run<{ workflowId: string }>(['schedule', 'trigger', 'documents']);
    const { type, status } = await client.workflow.getHandle(workflowId).describe();
    expect([type, status.name]).toEqual(['scheduledBackup', 'RUNNING']);
  });
});
