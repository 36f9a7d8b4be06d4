import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  generateIdentity,
  generateSigningKey,
  openPoint,
  publicKeyOf,
  readSigningKey,
  recipientOf,
  signBackupJson,
  verifyPoint,
} from '../../../engine/artifact/index.ts';
import { wrapKey } from '../../../engine/artifact/keys.ts';
import { publishedIn } from '../../../engine/catalog/published.ts';
import { rekeyPoint, removeFormerKeys } from '../../../engine/keys/index.ts';
import { findDamage, openPart } from '../../../engine/repair/index.ts';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { Failure } from '../../../policies/failure.ts';
import { backupJsonName, pointPrefix, type SealedPoint } from '../../../policies/recovery-point.ts';
import { failureOf, makePlace, noise, type Place, sealParts, source } from '../artifact/sealing.ts';

/** Folders that play three copies; `ann` is whom points were sealed for, `ben` whom they are to open for. */

const signing = readSigningKey(generateSigningKey());
const trusted = [publicKeyOf(signing)];
const content = { 'a.txt': noise(10_000) };

let place: Place;
let stores: Store[];
let point: SealedPoint;
let ben: { identity: string; recipient: string };

beforeAll(async () => {
  place = await makePlace();
});
afterAll(() => place.remove());
beforeEach(async () => {
  const identity = await generateIdentity();
  ben = { identity, recipient: await recipientOf(identity) };
  point = await sealParts(place, content);
  stores = ['disk', 'east', 'west'].map((name) => {
    const folder = path.join(place.dir, `${name} of ${point.id}`);
    publish(folder);
    return createDirectoryStore({ name, path: folder });
  });
});

function publish(folder: string): void {
  const prefix = pointPrefix(source.name, point.id);
  mkdirSync(path.join(folder, prefix), { recursive: true });
  for (const { name } of point.objects)
    copyFileSync(path.join(place.dir, prefix, name), path.join(folder, prefix, name));
  const validation = { finishedAt: point.sealedAt, passed: true, checks: [] };
  writeFileSync(path.join(folder, prefix, backupJsonName), signBackupJson({ ...point, validation }, signing));
}

const folderOf = (copy: string) => path.join(place.dir, `${copy} of ${point.id}`, pointPrefix(source.name, point.id));
const keysIn = (copy: string) => readdirSync(folderOf(copy)).filter((name) => name.startsWith('key.'));
const everywhere = (names: string[]) => Object.fromEntries(stores.map((s) => [s.name, names]));
const allKeys = () => Object.fromEntries(stores.map((s) => [s.name, keysIn(s.name).sort()]));
const annAndBen = () => `${place.identity}\n${ben.identity}`;

const rekey = (identity: string, recipients = [ben.recipient], among = stores) =>
  rekeyPoint({
    stores: among,
    source: source.name,
    id: point.id,
    trusted,
    identity,
    recipients,
    lockMode: () => undefined,
  });

const open = (copy: string, identity: string) => {
  const store = stores.find((s) => s.name === copy) as Store;
  return openPoint({ store, source: source.name, id: point.id, identity, trusted });
};
async function expectGood(copy: string, identity: string): Promise<void> {
  const { problems } = await verifyPoint(await open(copy, identity), { signal: new AbortController().signal });
  expect(problems).toEqual([]);
}
const revoke = (copy: string, keep: { name: string; sha256: string }) => {
  const store = stores.find((s) => s.name === copy) as Store;
  return removeFormerKeys({ store, source: source.name, id: point.id, trusted, recipients: [ben.recipient], keep });
};

describe('a point whose key is wrapped anew', () => {
  test('opens for the present recipients in every copy, by the same object; data and what was there stay as they were', async () => {
    const before = readdirSync(folderOf('west')).map((name) => [name, readFileSync(path.join(folderOf('west'), name))]);
    const { copies, key, proven } = await rekey(annAndBen());
    expect(copies.map((c) => [c.copy, c.state, c.former])).toEqual(stores.map((s) => [s.name, 'added', ['key.1.age']]));
    expect({ name: key.name, proven }).toEqual({ name: 'key.2.age', proven: true });
    expect(allKeys()).toEqual(everywhere(['key.1.age', 'key.2.age']));
    const bytes = stores.map((s) => readFileSync(path.join(folderOf(s.name), 'key.2.age'), 'base64'));
    expect(new Set(bytes).size).toBe(1);
    for (const [name, old] of before) expect(readFileSync(path.join(folderOf('west'), String(name)))).toEqual(old);
    for (const identity of [place.identity, ben.identity]) await expectGood('west', identity);
  });

  test('changes nothing when it is done again, with the former identity or with the present one', async () => {
    await rekey(place.identity);
    for (const identity of [place.identity, ben.identity, annAndBen()]) {
      const { copies } = await rekey(identity);
      expect(copies.map((c) => c.state)).toEqual(['present', 'present', 'present']);
    }
    expect(allKeys()).toEqual(everywhere(['key.1.age', 'key.2.age']));
  });

  test.each([1, 2])('is finished by the next run when it was interrupted after %i copies', async (done) => {
    await rekey(place.identity, [ben.recipient], stores.slice(0, done));
    await rekey(place.identity);
    expect(allKeys()).toEqual(everywhere(['key.1.age', 'key.2.age']));
    const bytes = stores.map((s) => readFileSync(path.join(folderOf(s.name), 'key.2.age'), 'base64'));
    expect(new Set(bytes).size).toBe(1);
  });

  test('is done in the other copies when one refuses, which is told', async () => {
    const refusing: Store = {
      ...(stores[1] as Store),
      name: 'east',
      put: async () => {
        throw new Failure('StoreDenied', 'these credentials may not put', { next: 'Give them.' });
      },
    };
    const { copies } = await rekey(place.identity, [ben.recipient], [stores[0], refusing, stores[2]] as Store[]);
    expect(copies.find((c) => c.copy === 'east')).toMatchObject({
      state: 'failed',
      error: 'these credentials may not put',
    });
    expect(keysIn('east')).toEqual(['key.1.age']);
    for (const copy of ['disk', 'west']) await expectGood(copy, ben.identity);
  });

  test('is opened by a key of another copy where one has lost its own, and gets one there again', async () => {
    rmSync(path.join(folderOf('disk'), 'key.1.age'));
    expect(await failureOf(open('disk', place.identity))).toMatchObject({ type: 'KeyMissing' });
    await rekey(place.identity);
    await expectGood('disk', ben.identity);
  });

  test('is not for the former recipients: who keeps nothing of before does not open it', async () => {
    await rekey(place.identity);
    for (const { name } of stores) rmSync(path.join(folderOf(name), 'key.1.age'));
    const failure = await failureOf(open('west', place.identity));
    expect(failure.type).toBe('KeyWrong');
    expect(failure.message).toContain(`sealed for ${ben.recipient}`);
    expect(failure.message).not.toContain('AGE-SECRET');
  });
});

describe('whoever writes to a store', () => {
  const lay = (copy: string, name: string, bytes: Uint8Array) => writeFileSync(path.join(folderOf(copy), name), bytes);

  test('has no point opened by a key of his own, with whatever number', async () => {
    const forged = await wrapKey(noise(32, 7), [place.recipient, ben.recipient]);
    for (const name of ['key.2.age', 'key.999999999.age']) lay('west', name, forged);
    await expectGood('west', place.identity);
    lay('west', 'key.1.age', forged);
    expect(await failureOf(open('west', place.identity))).toMatchObject({
      type: 'Corrupt',
      message: expect.stringContaining('another key than the one that sealed'),
    });
  });

  test('has no key of his own taken for one that is for the present recipients', async () => {
    const header = `-> backup-coordinator/recipients ${ben.recipient}\nAAAA\n--- `;
    const forged = Buffer.from(await wrapKey(noise(32, 7), [ben.recipient])).toString('latin1');
    lay('east', 'key.2.age', Buffer.from(forged.replace('--- ', header), 'latin1'));
    const { key } = await rekey(annAndBen());
    expect(key.name).toBe('key.3.age');
    for (const { name } of stores) await expectGood(name, ben.identity);
  });

  test('does not keep a point from being read by garbage beside its key', async () => {
    lay('west', 'key.2.age', Buffer.from('no key'));
    lay('west', 'key.3.age', Buffer.alloc(5 * 1024 * 1024));
    await expectGood('west', place.identity);
    await rekey(place.identity);
    await expectGood('west', ben.identity);
  });
});

describe('former keys', () => {
  test('are taken away, and the point is whole without them: in a listing, when verified, when its key is wrapped again', async () => {
    const { key } = await rekey(annAndBen());
    for (const { name } of stores) expect(await revoke(name, key)).toEqual({ removed: ['key.1.age'], kept: [] });
    expect(allKeys()).toEqual(everywhere(['key.2.age']));
    for (const { name } of stores) await expectGood(name, ben.identity);
    const problems: string[] = [];
    for (const store of stores) {
      const listed: string[] = [];
      for await (const { backup } of publishedIn({ store, trusted, onProblem: (p) => problems.push(p) }))
        listed.push(backup.id);
      expect(listed).toEqual([point.id]);
    }
    expect(problems).toEqual([]);
    expect(await revoke('west', key)).toEqual({ removed: [], kept: [] });
    const again = await rekey(ben.identity);
    expect(again.copies.map((c) => [c.state, c.former])).toEqual(stores.map(() => ['present', []]));
  });

  test('do not come back by a repair from a copy that had to keep them', async () => {
    const { key } = await rekey(annAndBen());
    await revoke('disk', key);
    const part = await openPart({ kind: 'point', source: source.name, pointId: point.id }, stores, trusted);
    for (const store of stores) {
      const others = stores.filter((s) => s !== store);
      expect((await findDamage({ part, store, others })).damages).toEqual([]);
    }
    rmSync(path.join(folderOf('disk'), key.name));
    const [disk, ...others] = stores as [Store, ...Store[]];
    const { damages } = await findDamage({ part, store: disk, others });
    expect(damages).toMatchObject([{ key: `shop/${point.id}/key.1.age`, state: 'missing', from: 'east' }]);
  });

  test('are not proven to be replaceable by an identity that is no present recipient’s', async () => {
    expect((await rekey(place.identity)).proven).toBe(false);
    expect((await rekey(ben.identity)).proven).toBe(true);
  });

  test('stay when the key that is to stay is not there as it was opened, or is for others', async () => {
    const { key } = await rekey(annAndBen());
    const others = { store: stores[0] as Store, source: source.name, id: point.id, trusted };
    const attempts = [
      () => revoke('disk', { ...key, sha256: '0'.repeat(64) }),
      () => revoke('disk', { ...key, name: 'key.3.age' }),
      () => revoke('disk', { name: backupJsonName, sha256: key.sha256 }),
      () => removeFormerKeys({ ...others, recipients: [place.recipient], keep: key }),
    ];
    for (const attempt of attempts) expect(await failureOf(attempt)).toMatchObject({ type: 'UsageInvalid' });
    expect(keysIn('disk').sort()).toEqual(['key.1.age', 'key.2.age']);
  });

  test('stay where the store has locked them, which is told with the time', async () => {
    const { key } = await rekey(annAndBen());
    const west = stores[2] as Store;
    const locking: Store = {
      ...west,
      name: 'west',
      delete: async (name) => {
        throw new Failure('StoreDenied', `${name} is locked`, { next: 'Wait.' });
      },
      head: async (name) => ({ ...(await west.head(name)), lockedUntil: '2031-01-01T00:00:00.000Z' }),
    };
    const options = { source: source.name, id: point.id, trusted, recipients: [ben.recipient], keep: key };
    expect(await removeFormerKeys({ store: locking, ...options })).toEqual({
      removed: [],
      kept: [{ name: 'key.1.age', why: 'locked until 2031-01-01T00:00:00.000Z' }],
    });
  });
});
