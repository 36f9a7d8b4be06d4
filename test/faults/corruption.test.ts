import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { removeDamaged } from '../../activities/remove-damaged.ts';
import { signBackupJson } from '../../engine/artifact/index.ts';
import { findDamage, openPart, putAgain } from '../../engine/repair/index.ts';
import { readBytes, type Store } from '../../engine/stores/index.ts';
import { backupJsonName, pointPrefix } from '../../policies/recovery-point.ts';
import type { RepairPart } from '../../policies/repair.ts';
import { noise } from '../engine/artifact/sealing.ts';
import { type Random, seededRandom } from '../policies/random.ts';
import { makeShelf, type Shelf, type ShelvedObject } from './shelf.ts';

/**
 * Damage of every kind, in every kind of object, in a folder and in a bucket, laid there past the store's own rules: each
 * is found and named, by verifying and by repairing, and mended from the other copy, byte for byte. The same at every run;
 * FAULT_SEED=NUMBER tries others.
 */

const seed = Number(process.env.FAULT_SEED ?? 20261124);
const corruptions = 1_000;
const cleanRuns = 1_000;
/** Of these, in the bucket; its server takes its time for each. */
const inBucket = 120;
const tools = { signal: new AbortController().signal, report: () => {} };

let shelf: Shelf;
beforeAll(async () => {
  shelf = await makeShelf();
}, 120_000);
afterAll(() => shelf?.remove());

const original = (key: string): Buffer => {
  const found = shelf.objects.get(key);
  if (!found) throw new Error(`the shelf has no ${key}`);
  return found.bytes;
};
const otherThan = (store: Store) => (store === shelf.disk ? shelf.s3 : shelf.disk);
const parts = (): RepairPart[] => {
  const all = [...shelf.objects.values()].map((o) => o.part);
  return all.filter((part, i) => all.findIndex((p) => JSON.stringify(p) === JSON.stringify(part)) === i);
};

/** What lies in the place of which object, null for nothing. */
type Changes = Map<string, Buffer | null>;
type Damage = (object: ShelvedObject, random: Random, all: ShelvedObject[]) => Changes;

const changed = (object: ShelvedObject, bytes: Buffer | null): Changes => new Map([[object.key, bytes]]);
/** Another object, which of the given ones. */
const another = (object: ShelvedObject, random: Random, among: ShelvedObject[]) =>
  random.pick(among.filter((o) => o.key !== object.key));

const damages: Record<string, Damage> = {
  'a flipped bit': (object, random) => {
    const bytes = Buffer.from(object.bytes);
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    return changed(object, bytes);
  },
  'a missing end': (object, random) => changed(object, object.bytes.subarray(0, random.below(object.bytes.length))),
  'bytes behind the end': (object, random) =>
    changed(object, Buffer.concat([object.bytes, noise(4 * (1 + random.below(500)), 1 + random.below(1_000_000))])),
  'a stretch of zeros': (object, random) => {
    const bytes = Buffer.from(object.bytes);
    const from = random.below(bytes.length - 16);
    return changed(object, bytes.fill(0, from, Math.min(bytes.length, from + 16 + random.below(4_096))));
  },
  'a stretch that is repeated': (object, random) => {
    const { bytes } = object;
    const at = 1 + random.below(bytes.length);
    return changed(object, Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 1_000))]));
  },
  'another object of the same part': (object, random, all) => {
    const same = all.filter((o) => JSON.stringify(o.part) === JSON.stringify(object.part));
    return changed(object, another(object, random, same).bytes);
  },
  'a stale copy, the same of an older or a newer point': (object, random, all) =>
    changed(
      object,
      another(
        object,
        random,
        all.filter((o) => o.kind === object.kind),
      ).bytes,
    ),
  'two objects that were swapped': (object, random, all) => {
    const other = another(object, random, all);
    return new Map([
      [object.key, other.bytes],
      [other.key, object.bytes],
    ]);
  },
  'nothing in its place': (object) => changed(object, null),
};

/** White space between what it says is none of a document's content; what repeats itself may be what was there. */
function isDamage([key, bytes]: [string, Buffer | null]): boolean {
  const spaceless = (b: Buffer) => b.toString('latin1').replaceAll(/[ \n]/g, '');
  if (bytes === null) return true;
  return key.endsWith(backupJsonName) ? spaceless(bytes) !== spaceless(original(key)) : !bytes.equals(original(key));
}

async function findIn(store: Store, part: RepairPart) {
  const opened = await openPart(part, [store, otherThan(store)], shelf.trusted);
  return (await findDamage({ part: opened, store, others: [otherThan(store)] })).damages;
}

/** As a worker does it: removes what is damaged, puts again what is not there. */
async function mend(store: Store, part: RepairPart): Promise<void> {
  const other = otherThan(store);
  const found = await findIn(store, part);
  const keys = found.filter((d) => d.state === 'damaged').map((d) => d.key);
  expect(await removeDamaged([store, other], shelf.trusted, { part, keys }, tools)).toEqual([]);
  const opened = await openPart(part, [store, other], shelf.trusted);
  for (const { key } of found) await putAgain({ part: opened, key, from: other, to: store }, {});
}

/** What verifying must say of an object: its name; of what is not there at all, what that costs. */
function wordsFor({ key, part, kind }: ShelvedObject, bytes: Buffer | null): string[] {
  if (part.kind === 'way-out') return [];
  if (bytes !== null) return [key.slice(key.lastIndexOf('/') + 1)];
  if (kind === 'description' && part.kind === 'point') return [`no recovery point ${part.pointId}`];
  return kind === 'wal' ? [] : [key.slice(key.lastIndexOf('/') + 1)];
}

/** Damages something in one copy, expects that it is found and named, mends it, and expects it to be what it was. */
async function damageAndMend(random: Random, store: Store): Promise<string | null> {
  const all = [...shelf.objects.values()];
  const kinds = [...new Set(all.map((o) => o.kind))];
  const kind = random.pick(kinds);
  const object = random.pick(all.filter((o) => o.kind === kind));
  const [name, damage] = random.pick(Object.entries(damages));
  const changes = damage(object, random, all);
  if (![...changes].every(isDamage)) return null;
  const what = `${name}: ${[...changes.keys()].join(' and ')} in ${store.name}`;
  for (const [key, bytes] of changes) await shelf.lay(store, key, bytes);

  const hurt = [...changes].map(([key, bytes]) => ({ object: shelf.objects.get(key) ?? object, bytes }));
  for (const { object: one } of hurt) {
    const mine = hurt.filter((h) => JSON.stringify(h.object.part) === JSON.stringify(one.part));
    const said = await shelf.verify(store, one.part);
    // Verifying stops at a description or a key that is damaged: of two objects, one is named.
    const isNamed = mine.some((h) => wordsFor(h.object, h.bytes).every((w) => said.some((line) => line.includes(w))));
    expect({ what, isNamed, said }).toEqual({ what, isNamed: true, said });
    const found = await findIn(store, one.part);
    expect({ what, keys: found.map((d) => d.key).sort() }).toEqual({
      what,
      keys: mine.map((h) => h.object.key).sort(),
    });
    expect(found.every((d) => d.problem.includes(d.key))).toBe(true);
  }
  for (const { object: one } of hurt) await mend(store, one.part);
  for (const { object: one } of hurt) {
    expect([what, (await readBytes(store, one.key)).equals(one.bytes)]).toEqual([what, true]);
  }
  return `${name} of ${kind}`;
}

describe('damage', () => {
  test(`of ${corruptions} kinds and places is found, named and mended`, async () => {
    const random = seededRandom(seed);
    const met = new Set<string>();
    for (let done = 0; done < corruptions; ) {
      const kind = await damageAndMend(random, done < inBucket ? shelf.s3 : shelf.disk);
      if (kind === null) continue;
      met.add(kind);
      done++;
    }
    const kinds = new Set([...shelf.objects.values()].map((o) => o.kind));
    const wanted = [...kinds].flatMap((kind) => Object.keys(damages).map((name) => `${name} of ${kind}`));
    expect([...met].sort()).toEqual(wanted.sort());
  }, 600_000);

  test(`is not seen where there is none: in ${cleanRuns} runs`, async () => {
    const random = seededRandom(seed);
    const all = parts();
    const runs = Array.from({ length: cleanRuns }, (_, run) => ({
      store: run < inBucket ? shelf.s3 : shelf.disk,
      part: random.pick(all),
    }));
    const lane = async () => {
      for (let run = runs.shift(); run; run = runs.shift()) {
        const { store, part } = run;
        expect({ part, said: await shelf.verify(store, part) }).toEqual({ part, said: [] });
        expect({ part, found: await findIn(store, part) }).toEqual({ part, found: [] });
      }
    };
    await Promise.all(Array.from({ length: 4 }, lane));
  }, 600_000);

  test('that is in both copies stays: what can still be read of it is not removed', async () => {
    for (const { key, bytes, part, kind } of shelf.objects.values()) {
      if (kind === 'description' || kind === 'way-out') continue;
      for (const store of [shelf.disk, shelf.s3]) await shelf.lay(store, key, Buffer.concat([bytes, Buffer.of(1)]));
      expect(await findIn(shelf.disk, part)).toMatchObject([{ key, state: 'damaged', from: null }]);
      const refused = await removeDamaged([shelf.disk, shelf.s3], shelf.trusted, { part, keys: [key] }, tools);
      expect(refused).toEqual([{ key, reason: expect.stringContaining('No other copy that can be read has it good') }]);
      expect((await readBytes(shelf.disk, key)).length).toBe(bytes.length + 1);
      for (const store of [shelf.disk, shelf.s3]) await shelf.lay(store, key, bytes);
    }
  }, 120_000);

  test('is all that is ever removed: what is good stays, and so does what is none of the part', async () => {
    for (const part of parts()) {
      const keys = [...shelf.objects.keys()];
      const refused = await removeDamaged([shelf.disk, shelf.s3], shelf.trusted, { part, keys }, tools);
      const own = keys.filter((key) => JSON.stringify(shelf.objects.get(key)?.part) === JSON.stringify(part));
      expect(refused.map((r) => r.key)).toEqual(keys.filter((key) => !own.includes(key)));
      for (const key of keys) expect((await readBytes(shelf.disk, key)).equals(original(key))).toBe(true);
    }
  }, 120_000);

  test('of two descriptions that differ, both signed, is for a person to look into', async () => {
    const [backup] = shelf.points;
    if (!backup) throw new Error('there is no point');
    const part = { kind: 'point', source: backup.source.name, pointId: backup.id } as const;
    const key = pointPrefix(part.source, part.pointId) + backupJsonName;
    const { signature: _, ...unsigned } = backup;
    const other = signBackupJson({ ...unsigned, software: 'another' }, shelf.signer);
    await shelf.lay(shelf.disk, key, Buffer.from(other));
    await expect(findIn(shelf.disk, part)).rejects.toThrow('differently, both signed');
    await shelf.lay(shelf.disk, key, original(key));
  });

  test('of a way out of an older version is named, and not spread as one that is missing', async () => {
    const name = 'restore-0123456789ab.mjs';
    await shelf.lay(shelf.disk, name, Buffer.from('not what its name says'));
    expect(await findIn(shelf.disk, { kind: 'way-out' })).toEqual([
      { key: name, state: 'damaged', problem: expect.stringContaining('do not run it'), from: null },
    ]);
    expect(await findIn(shelf.s3, { kind: 'way-out' })).toEqual([]);
    await shelf.lay(shelf.disk, name, null);
  });
});
