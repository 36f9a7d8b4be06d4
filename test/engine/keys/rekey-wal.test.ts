import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import {
  generateIdentity,
  generateSigningKey,
  openWal,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../../../engine/artifact/index.ts';
import {
  recipientsOfWal,
  rekeyWal,
  removeFormerWalKeys,
  type WalInCopies,
  walInCopies,
} from '../../../engine/keys/index.ts';
import { listWal } from '../../../engine/sources/wal/index.ts';
import { createDirectoryStore, type Store } from '../../../engine/stores/index.ts';
import { Failure } from '../../../policies/failure.ts';
import { sealWal, walRangeBytes } from '../artifact/sealed-wal.ts';
import { failureOf, makePlace, type Place } from '../artifact/sealing.ts';

/** Folders that play three copies of the WAL of `shop`; `ann` is whom it was sealed for, `ben` whom it is to open for. */

interface Person {
  identity: string;
  recipient: string;
}
const person = async (): Promise<Person> => {
  const identity = await generateIdentity();
  return { identity, recipient: await recipientOf(identity) };
};

const signingKey = readSigningKey(generateSigningKey());
const trusted = [publicKeyOf(signingKey)];
const names = ['disk', 'east', 'west'];
let place: Place;
let ann: Person;
let ben: Person;
let cai: Person;
let serial = 0;
let root: string;
let stores: Store[];
let keys: string[];

beforeAll(async () => {
  place = await makePlace();
  [ann, ben, cai] = [await person(), await person(), await person()] as const;
});
afterAll(() => place.remove());
beforeEach(async () => {
  root = path.join(place.dir, `test-${++serial}`);
  const disk = path.join(root, 'disk');
  keys = [];
  for (const start of [0x1000000n, 0x1002000n, 0x1004000n])
    keys.push(await sealWal({ root: disk, source: 'shop', recipients: [ann.recipient], signingKey, start }));
  for (const name of names.slice(1)) cpSync(disk, path.join(root, name), { recursive: true });
  stores = names.map((name) => createDirectoryStore({ name, path: path.join(root, name) }));
});

const fail = (_: Store, error: unknown) => {
  throw error;
};
async function objects(among = stores, after: string | null = null): Promise<WalInCopies[]> {
  const found: WalInCopies[] = [];
  for await (const object of walInCopies(among, 'shop', { after, onFailure: fail })) found.push(object);
  return found;
}
const object = async (n = 0, among = stores) => (await objects(among))[n] as WalInCopies;
const rekey = async (identity: string, to = [ben], n = 0, among = stores) =>
  rekeyWal({
    source: 'shop',
    object: await object(n, among),
    trusted,
    identity,
    recipients: to.map((p) => p.recipient),
    lockMode: () => undefined,
  });
const open = async (copy: string, { identity }: Person, n = 0) => {
  const store = stores.find((s) => s.name === copy) as Store;
  const wal = await openWal({ store, source: 'shop', key: keys[n] ?? '', trusted }, identity);
  return wal.read(0, walRangeBytes);
};
const besides = (n = 0) =>
  Object.fromEntries(
    names.map((name) => {
      const folder = path.join(root, name, (keys[n] ?? '').slice(0, -'.wal'.length));
      return [name, existsSync(folder) ? readdirSync(folder).sort() : []];
    }),
  );
const everywhere = (...found: string[]) => Object.fromEntries(names.map((name) => [name, found]));
const revoke = (copy: string, keep: { name: string; sha256: string }, to = ben) => {
  const store = stores.find((s) => s.name === copy) as Store;
  return removeFormerWalKeys({
    ...{ store, source: 'shop', key: keys[0] ?? '', trusted },
    ...{ recipients: [to.recipient], keep },
  });
};

describe('an object of WAL whose key is wrapped anew', () => {
  test('opens for the present recipient alone in every copy, and is itself as it was', async () => {
    const file = path.join(root, 'west', keys[0] ?? '');
    const before = readFileSync(file);
    await expect(open('west', ben)).rejects.toMatchObject({ type: 'KeyWrong' });
    const { copies, key, proven, inLine } = await rekey(`${ann.identity}\n${ben.identity}`);
    expect(copies.map((c) => [c.copy, c.state, c.former])).toEqual(names.map((name) => [name, 'added', []]));
    expect({ name: key.name, proven, inLine }).toEqual({ name: 'key.2.age', proven: true, inLine: [ann.recipient] });
    expect(besides()).toEqual(everywhere('key.2.age'));
    expect(readFileSync(file)).toEqual(before);
    for (const who of [ann, ben]) expect(await open('west', who)).toEqual(Buffer.alloc(walRangeBytes));
    await expect(open('west', cai)).rejects.toMatchObject({
      type: 'KeyWrong',
      message: expect.stringContaining(ben.recipient),
    });
  });

  test('is as it was when it is done again, by whoever opens it', async () => {
    await rekey(ann.identity);
    for (const who of [ann, ben]) {
      const { copies } = await rekey(who.identity);
      expect(copies.map((c) => c.state)).toEqual(['present', 'present', 'present']);
    }
    expect(besides()).toEqual(everywhere('key.2.age'));
  });

  test('needs no key beside it where the one in its line is for the present recipients', async () => {
    const { copies, inLine } = await rekey(ann.identity, [ann]);
    expect(copies.map((c) => c.state)).toEqual(['present', 'present', 'present']);
    expect([besides(), inLine]).toEqual([everywhere(), [ann.recipient]]);
  });

  test.each([1, 2])(
    'is finished by the next run, with the same key, when it was interrupted after %i copies',
    async (n) => {
      await rekey(ann.identity, [ben], 0, stores.slice(0, n));
      await rekey(ann.identity);
      const bytes = names.map((name) =>
        readFileSync(path.join(root, name, (keys[0] ?? '').slice(0, -4), 'key.2.age'), 'base64'),
      );
      expect(new Set(bytes).size).toBe(1);
    },
  );

  test('is done in the other copies when one refuses, which is told', async () => {
    const refusal = new Failure('StoreDenied', 'east is read-only.', { next: 'Mend it.' });
    const refusing: Store = { ...(stores[1] as Store), put: () => Promise.reject(refusal) };
    const among = stores.map((s) => (s.name === 'east' ? refusing : s));
    const { copies } = await rekey(ann.identity, [ben], 0, among);
    expect(copies.map((c) => [c.copy, c.state, c.error])).toEqual([
      ['disk', 'added', null],
      ['west', 'added', null],
      ['east', 'failed', 'east is read-only.'],
    ]);
  });

  test('is locked as long as the object is', async () => {
    const until = '2999-01-01T00:00:00Z';
    const locks: unknown[] = [];
    const [disk] = stores as [Store];
    const locking: Store = {
      ...disk,
      head: async (key) => ({ ...(await disk.head(key)), lockedUntil: until }),
      put: (key, source, { lock, ...options }) => {
        locks.push(lock);
        return disk.put(key, source, options);
      },
    };
    const [first] = await objects([locking]);
    await rekeyWal({
      ...{ source: 'shop', object: first as WalInCopies, trusted, identity: ann.identity },
      ...{ recipients: [ben.recipient], lockMode: () => 'governance' as const },
    });
    expect(locks).toEqual([{ mode: 'governance', until }]);
  });

  test('is known from any copy that is good, and refused where none is', async () => {
    writeFileSync(path.join(root, 'disk', keys[0] ?? ''), 'damaged');
    await rekey(ann.identity);
    expect(besides()).toEqual(everywhere('key.2.age'));
    for (const name of names) writeFileSync(path.join(root, name, keys[1] ?? ''), 'damaged');
    expect(await failureOf(rekey(ann.identity, [ben], 1))).toMatchObject({ type: 'Corrupt' });
  });

  test('passes over what somebody has laid beside it under such a name', async () => {
    const folder = path.join(root, 'east', (keys[0] ?? '').slice(0, -'.wal'.length));
    await rekey(ann.identity);
    writeFileSync(path.join(folder, 'key.2.age'), 'not ours');
    expect((await rekey(ann.identity)).key.name).toBe('key.3.age');
    expect(besides()).toEqual(everywhere('key.2.age', 'key.3.age'));
    expect(await open('east', ben)).toEqual(Buffer.alloc(walRangeBytes));
  });
});

describe('former keys of WAL', () => {
  test('beside an object are taken away; the one in its line goes with it only, and that is told', async () => {
    await rekey(ann.identity);
    const { key, copies, inLine } = await rekey(ann.identity, [cai]);
    expect(copies.map((c) => c.former)).toEqual(names.map(() => ['key.2.age']));
    expect(await revoke('west', key, cai)).toEqual({ removed: ['key.2.age'], kept: [] });
    expect(await revoke('west', key, cai)).toEqual({ removed: [], kept: [] });
    expect(besides()).toEqual({ ...everywhere('key.2.age', 'key.3.age'), west: ['key.3.age'] });
    expect(inLine).toEqual([ann.recipient]);
    await expect(open('west', ben)).rejects.toMatchObject({ type: 'KeyWrong' });
    for (const who of [ann, cai]) expect(await open('west', who)).toEqual(Buffer.alloc(walRangeBytes));
  });

  test('stay when the one that is to stay is not as it was opened, or not for the present recipients', async () => {
    const { key } = await rekey(ann.identity);
    for (const [keep, to] of [
      [{ ...key, sha256: '0'.repeat(64) }, ben],
      [key, cai],
      [{ ...key, name: 'key.7.age' }, ben],
    ] as const)
      await expect(revoke('west', keep, to)).rejects.toMatchObject({ type: 'UsageInvalid' });
    expect(besides()).toEqual(everywhere('key.2.age'));
  });

  test('go when the key in the line is to stay, because who was first is a recipient again', async () => {
    await rekey(ann.identity);
    const { key } = await rekey(ann.identity, [ann]);
    expect(key.name).toBe('key.1.age');
    expect(await revoke('disk', key, ann)).toEqual({ removed: ['key.2.age'], kept: [] });
  });
});

describe('the WAL of a source', () => {
  test('is found in every copy that holds it, in order, with its keys, and gone on with behind any of it', async () => {
    rmSync(path.join(root, 'east', keys[1] ?? ''));
    await rekey(ann.identity, [ben], 1);
    const found = (await objects()).map((o) => [o.key, o.copies.map((c) => [c.store.name, ...c.names])]);
    const all = names.map((name) => [name]);
    expect(found).toEqual([
      [keys[0], all],
      [
        keys[1],
        [
          ['disk', 'key.2.age'],
          ['west', 'key.2.age'],
        ],
      ],
      [keys[2], all],
    ]);
    expect((await objects(stores, keys[0])).map((o) => o.key)).toEqual(keys.slice(1));
    expect(await objects(stores, keys[2])).toEqual([]);
  });

  test('says whom it opens for, and a wrapped key is no stranger in it', async () => {
    await rekey(ann.identity);
    const [disk] = stores as [Store];
    const of = async (n: number) => recipientsOfWal({ source: 'shop', object: await object(n, [disk]), trusted });
    expect(await of(0)).toEqual([ann.recipient, ben.recipient]);
    expect(await of(1)).toEqual([ann.recipient]);
    const { ranges, wrappedKeys, strangers } = await listWal({ store: disk, source: 'shop', trusted });
    expect([ranges.length, wrappedKeys.map((k) => k.of), strangers]).toEqual([3, [keys[0]], []]);
  });
});
