import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createRepairActivities } from '../../activities/repair.ts';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../../engine/artifact/index.ts';
import type { FoundDamage } from '../../engine/repair/index.ts';
import { createDirectoryStore, type Store } from '../../engine/stores/index.ts';
import { sealWal } from '../engine/artifact/sealed-wal.ts';
import { policyOf } from '../policies/policies.ts';
import { activityEnvironment } from './environment.ts';

let dir: string;
let keys: string[];
let stores: Map<string, Store>;
let repair: ReturnType<typeof createRepairActivities>;
const part = { kind: 'wal', source: 'shop' } as const;

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'repair-'));
  const signingKey = readSigningKey(generateSigningKey());
  const recipients = [await recipientOf(await generateIdentity())];
  const far = path.join(dir, 'far');
  keys = [];
  for (const start of [0x1000000n, 0x1002000n, 0x1004000n])
    keys.push(await sealWal({ root: far, source: 'shop', recipients, signingKey, start }));
  cpSync(far, path.join(dir, 'near'), { recursive: true });
  const names = ['near', 'far'];
  stores = new Map(names.map((name) => [name, createDirectoryStore({ name, path: path.join(dir, name) })]));
  const policy = policyOf({
    copies: names.map((name) => ({
      ...{ kind: 'directory', name, region: 'here', path: path.join(dir, name) },
      ...(name === 'near' ? { pruneAfter: '30d' } : {}),
    })),
  });
  policy.keys.trusted = [publicKeyOf(signingKey)];
  repair = createRepairActivities({ policy, store: async (name) => stores.get(name) as Store });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('WAL that is missing is damage, also in a copy whose points are pruned: WAL goes from all copies alike', async () => {
  const find = async () => (await activityEnvironment().run(repair.findDamage, { part, copy: 'near' })) as FoundDamage;
  expect(await find()).toEqual({ objects: 3, damages: [], next: null });
  for (const key of keys.slice(0, 2)) await stores.get('near')?.delete(key);
  const { damages } = await find();
  expect(damages).toEqual(
    keys.slice(0, 2).map((key) => ({ key, state: 'missing', problem: expect.stringContaining(key), from: 'far' })),
  );
});
