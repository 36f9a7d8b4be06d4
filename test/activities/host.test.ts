import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createHostActivities } from '../../activities/host.ts';
import { policyOf } from '../policies/policies.ts';

let staging: string;
let host: ReturnType<typeof createHostActivities>;
beforeEach(() => {
  staging = mkdtempSync(path.join(tmpdir(), 'host-'));
  const policy = policyOf();
  host = createHostActivities({
    policy: { ...policy, staging: { ...policy.staging, path: staging } },
    source: async () => {
      throw new Error('no source is asked for');
    },
    signingKey: async () => {
      throw new Error('nothing is signed');
    },
    software: 'tests',
    isRunning: async () => true,
  });
});
afterEach(() => rmSync(staging, { recursive: true, force: true }));

const activities = new MockActivityEnvironment();
const kept = () => {
  const folder = path.join(staging, '.references', 'docs');
  return existsSync(folder) ? readdirSync(folder).sort() : [];
};

/** What sealing leaves of a point on the staging disk. */
function stage(pointId: string, day: number, parent: string | null = null): void {
  const dir = path.join(staging, 'docs', pointId);
  mkdirSync(dir, { recursive: true });
  const capturedAt = new Date(Date.UTC(2026, 0, day)).toISOString();
  const sha256 = createHash('sha256').update(pointId).digest('hex');
  const level = parent === null ? 'full' : 'incremental';
  writeFileSync(path.join(dir, 'reference.ndjson.zst'), pointId);
  writeFileSync(
    path.join(dir, 'reference.json'),
    JSON.stringify({ id: pointId, level, parent, capturedAt, facts: {}, manifest: sha256, sha256 }),
  );
  writeFileSync(path.join(dir, 'data'), 'sealed');
}

const discard = (pointId: string, published: boolean) =>
  activities.run(host.discardStaging, { source: 'docs', pointId, published });

describe('what is kept of a point to compare the next one with', () => {
  test('is nothing of one that was not published', async () => {
    stage('a', 1);
    await discard('a', false);
    expect(kept()).toEqual([]);
    expect(existsSync(path.join(staging, 'docs', 'a'))).toBe(false);
  });

  test('lies where nobody else looks, and nothing else stays of the point', async () => {
    stage('a', 1);
    await discard('a', true);
    expect(kept()).toEqual(['a']);
    expect(statSync(path.join(staging, '.references')).mode & 0o777).toBe(0o700);
    expect(existsSync(path.join(staging, 'docs', 'a'))).toBe(false);
  });

  test('is whole though an attempt was killed in between, and stays when it is asked for again', async () => {
    stage('a', 1);
    const dir = path.join(staging, '.references', 'docs', 'a');
    mkdirSync(dir, { recursive: true });
    rmSync(path.join(staging, 'docs', 'a', 'reference.ndjson.zst'));
    writeFileSync(path.join(dir, 'reference.ndjson.zst'), 'a');
    await discard('a', true);
    await discard('a', true);
    expect(readdirSync(dir).sort()).toEqual(['reference.json', 'reference.ndjson.zst']);
  });

  test('is that of the newest three, of the newest full one, and of what the newest was compared with', async () => {
    const points: [string, string | null][] = [
      ['f1', null],
      ['f2', null],
      ['a', 'f2'],
      ['b', 'a'],
      ['c', 'b'],
      ['d', 'c'],
      ['e', 'd'],
    ];
    for (const [i, [id, parent]] of points.entries()) {
      stage(id, i + 1, parent);
      await discard(id, true);
    }
    expect(kept()).toEqual(['c', 'd', 'e', 'f2']);
    stage('g', 20, 'c');
    await discard('g', true);
    stage('h', 21, 'c');
    await discard('h', true);
    expect(kept()).toEqual(['c', 'e', 'f2', 'g', 'h']);
  });
});
