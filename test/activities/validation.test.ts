import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CancelledFailure } from '@temporalio/common';
import { createValidationActivities } from '../../activities/validation.ts';
import { generateIdentity } from '../../engine/artifact/index.ts';
import { createFilesSource, type Source } from '../../engine/sources/index.ts';
import { createDirectoryStore } from '../../engine/stores/index.ts';
import type { BackupPlan } from '../../policies/backup-plan.ts';
import { filesSource } from '../../policies/policy.ts';
import { makePlace, type Place } from '../engine/artifact/sealing.ts';
import { sealSource } from '../engine/sources/conformance.ts';
import { policyOf } from '../policies/policies.ts';
import { plan as usualPlan } from '../workflows/stand-ins.ts';
import { activityEnvironment, errorOf } from './environment.ts';

let place: Place;
let files: Source;
let plan: BackupPlan;

beforeAll(async () => {
  place = await makePlace();
  const tree = mkdtempSync(path.join(place.dir, 'tree-'));
  for (let i = 0; i < 5; i++) writeFileSync(path.join(tree, `${i}.txt`), `file ${i}`.repeat(1000));
  files = createFilesSource(filesSource.parse({ name: 'shop', kind: 'files', path: tree }));
});
afterAll(() => place.remove());

beforeEach(async () => {
  const { point } = await sealSource(place, files);
  plan = { ...usualPlan, pointId: point.id };
});

interface Choices {
  source?: Source;
  identity?: string;
  recipients?: string[];
}

const validation = ({ source = files, identity = place.identity, recipients = [place.recipient] }: Choices = {}) => {
  const policy = policyOf({
    staging: { path: place.dir },
    sources: [{ name: 'shop', kind: 'files', path: '/shop' }],
  });
  return createValidationActivities({
    policy: { ...policy, keys: { ...policy.keys, recipients } },
    source: async () => source,
    identity: async () => identity,
    staging: createDirectoryStore({ name: 'staging', path: place.dir }),
    store: () => Promise.reject(new Error('a full point needs no other')),
  });
};
const check = (choices?: Choices, asked = plan) => activityEnvironment().run(validation(choices).checkSealed, asked);
const testRestore = (choices?: Choices, asked = plan, environment = activityEnvironment()) =>
  environment.run(validation(choices).testRestore, asked);
const isolated = () => path.join(place.dir, '.validation');

describe('the checks of what was sealed', () => {
  test('pass for a good point: integrity, size and encryption', async () => {
    const checks = await check(undefined, { ...plan, sizeHistory: [2_000, 2_100] });
    expect(checks).toMatchObject([
      { check: 'integrity', passed: true, details: expect.stringContaining('read and matched') },
      { check: 'size', passed: true },
      { check: 'encryption', passed: true },
    ]);
  });

  test('name one flipped bit, and are not tried again for it', async () => {
    const file = path.join(place.dir, 'shop', plan.pointId, 'data.tar.zst.tink');
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    chmodSync(file, 0o600);
    writeFileSync(file, bytes);
    const [integrity] = (await check()) as { check: string; passed: boolean; error?: string }[];
    expect(integrity).toMatchObject({ check: 'integrity', passed: false });
    expect(integrity?.error).toContain('data.tar.zst.tink');
  });

  test('fail where the identity does not open the point, and where it is sealed for others than the policy says', async () => {
    expect(await check({ identity: await generateIdentity() })).toMatchObject([{ check: 'integrity', passed: false }]);
    const stranger = 'age1ee0u2k4n8eklpmxl7qn8mrfuvlxk0gfys6k049h0ylqutncuvffq9w0yd9';
    expect(await check({ recipients: [stranger] })).toMatchObject([{}, {}, { check: 'encryption', passed: false }]);
  });

  test('fail for a size that is out of line with the points before', async () => {
    const huge = 2 ** 40;
    expect(await check(undefined, { ...plan, sizeHistory: [huge, huge, huge] })).toMatchObject([
      { passed: true },
      { check: 'size', passed: false, error: expect.stringContaining('suspiciously small') },
      { passed: true },
    ]);
  });
});

describe('a test restore', () => {
  test('passes for a good point, and leaves nothing', async () => {
    expect(await testRestore()).toMatchObject([
      { check: 'restore_test', passed: true },
      { check: 'content', passed: true },
    ]);
    expect(readdirSync(isolated())).toEqual([]);
  });

  /** Works in its place until it is told to stop. */
  const slow = (begun = () => {}): Source => ({
    ...files,
    testRestore: (_point, { workDir, signal }) => {
      mkdirSync(workDir, { recursive: true });
      writeFileSync(path.join(workDir, 'restored'), 'half of it');
      const told = new Promise<never>((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        // On a busy machine the limit may have passed before this was called.
        if (signal.aborted) reject(signal.reason);
      });
      begun();
      return told;
    },
  });

  test('stops itself at the limit, is cleaned up, and counts as failed', async () => {
    const error = await errorOf(testRestore({ source: slow() }, { ...plan, validationTimeoutMs: 50 }));
    expect(error).toMatchObject({
      type: 'ValidationTimedOut',
      nonRetryable: true,
      message: `The test restore of ${plan.pointId} was stopped after 50 ms.`,
      details: [{ next: expect.stringContaining('limits.validationTimeout') }],
    });
    expect(readdirSync(isolated())).toEqual([]);
  });

  test('that is cancelled is cleaned up, and does not count as timed out', async () => {
    const environment = activityEnvironment();
    const source = slow(() => environment.cancel('CANCELLED'));
    expect(await errorOf(testRestore({ source }, plan, environment))).toBeInstanceOf(CancelledFailure);
    expect(readdirSync(isolated())).toEqual([]);
  });

  test('first removes what was left: by its own attempt that was killed, and by jobs whose point is staged no more', async () => {
    const leave = (pointId: string) => {
      mkdirSync(path.join(isolated(), pointId), { recursive: true });
      writeFileSync(path.join(isolated(), pointId, 'restored'), 'half of it');
    };
    const { point: other } = await sealSource(place, files);
    for (const pointId of [plan.pointId, other.id, 'shop-gone']) leave(pointId);
    let seen: string[] = [];
    const source: Source = {
      ...files,
      testRestore: async (_, { workDir }) => {
        expect(existsSync(workDir)).toBe(false);
        seen = readdirSync(isolated());
        return [];
      },
    };
    await testRestore({ source });
    expect(seen).toEqual([other.id]);
  });

  test('takes a limit that is longer than timers can count', async () => {
    const forty = 40 * 86_400_000;
    expect(await testRestore(undefined, { ...plan, validationTimeoutMs: forty })).toMatchObject([{}, { passed: true }]);
  });
});
