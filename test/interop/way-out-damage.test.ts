import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { generateIdentity, recipientOf, rewrapKey } from '../../engine/artifact/index.ts';
import { wrapKey } from '../../engine/artifact/keys.ts';
import { compareTree } from '../../engine/sources/files/compare.ts';
import { findTool } from '../../scripts/stack/find.ts';
import { noise, openHere } from '../engine/artifact/sealing.ts';
import type { SealedSource } from '../engine/sources/conformance.ts';
import { makeShelf, namesIn, run, type Shelf, shelveParts, shelveTree } from './way-out-fixture.ts';

/** restore.mjs when objects are damaged or keys are wrong: each is named, and nothing wrong is restored. */

const signal = new AbortController().signal;
const MiB = 1024 * 1024;

let shelf: Shelf;
let sealed: SealedSource;
let folder: string;
beforeAll(async () => {
  shelf = await makeShelf();
  ({ sealed, folder } = await shelveTree(shelf));
});
afterAll(() => shelf.remove());

/** Runs the body while an object in the store holds other bytes. */
async function damaged<T>(name: string, change: (bytes: Buffer) => Uint8Array, body: () => Promise<T>): Promise<T> {
  const file = path.join(folder, name);
  const good = readFileSync(file);
  writeFileSync(file, change(Buffer.from(good)));
  try {
    return await body();
  } finally {
    writeFileSync(file, good);
  }
}

const flip = (at: number) => (bytes: Buffer) => {
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
};
const artifact = 'data.tar.zst.tink';
const manifest = 'manifest.ndjson.zst.tink';

describe('damage', () => {
  test('of the artifact is named with the file that it cost; all others come back', async () => {
    await damaged(artifact, flip(12 * MiB), async () => {
      const { code, stderr } = await shelf.verify(sealed.point.id);
      expect(code).toBe(6);
      expect(stderr).toContain(`${artifact} has the SHA-256`);
      expect(stderr).toMatch(/deep\/b: .*segment 12 of \d+/);
      expect(stderr).not.toMatch(/damaged: (a|z|deep\/er\/c|the frames)/);
      const restored = await shelf.restore(sealed.point.id);
      expect(restored.code).toBe(6);
      expect(restored.stderr).toContain('left out, for it is damaged: deep/b: ');
      expect(namesIn(restored.into)).not.toContain('deep/b');
      const compared = await compareTree(sealed.reader, restored.into, signal);
      expect(compared.examples.filter((d) => !d.includes('mtimeNs'))).toEqual(['deep/b is missing']);
    });
  });

  test('of a file with several names costs all of its names, and says so', async () => {
    await damaged(artifact, flip(5000), async () => {
      const { code, stderr, into } = await shelf.restore(sealed.point.id);
      expect(code).toBe(6);
      expect(stderr).toContain('damaged: a: ');
      expect(stderr).toContain('deep/other name of a: it is a further name of a');
      expect(readdirSync(path.join(into, 'deep')).sort()).toEqual(['b', 'er']);
    });
  });

  const cases: Record<string, [name: string, change: (bytes: Buffer) => Uint8Array, words: string]> = {
    'of the manifest': [manifest, flip(200), `${manifest} is damaged: segment 0 of 1`],
    'by which the manifest was cut off': [manifest, (b) => b.subarray(0, -1), 'bytes instead of'],
    'by which the artifact was cut off at a segment': [artifact, (b) => b.subarray(0, 3 * MiB), 'bytes instead of'],
    'of the wrapped key': ['key.1.age', flip(150), 'key.1.age is damaged'],
    'of the description': ['backup.json', (b) => b.subarray(0, 300), 'backup.json is damaged: it is not JSON'],
    'by which the description is no UTF-8': ['backup.json', (b) => Buffer.concat([b, Buffer.of(0xff)]), 'not JSON'],
    'by which the description says something else': [
      'backup.json',
      (b) => Buffer.from(b.toString().replace('"level": "full"', '"level": "fool"')),
      'was changed after it was signed',
    ],
    'by which the description says a thing twice': [
      'backup.json',
      (b) => Buffer.from(b.toString().replace('  "level"', '  "level": "fool",\n  "level"')),
      'is not written as it was sealed',
    ],
    'by which the signature is written otherwise': [
      'backup.json',
      // Base64 of 64 bytes: of the last character before the padding, four bits stand for nothing.
      (b) =>
        Buffer.from(b.toString().replace(/[AQgw]==/, (end) => `${{ A: 'B', Q: 'R', g: 'h', w: 'x' }[end[0] ?? '']}==`)),
      'was changed after it was signed',
    ],
    'by which the description is of another format': [
      'backup.json',
      (b) => Buffer.from(b.toString().replace('coordinator/1', 'coordinator/2')),
      'has the format backup-coordinator/2',
    ],
  };
  for (const [name, [object, change, words]] of Object.entries(cases)) {
    test(`${name} is found by verifying and by restoring`, async () => {
      await damaged(object, change, async () => {
        for (const ended of [await shelf.verify(sealed.point.id), await shelf.restore(sealed.point.id)]) {
          expect(ended.stderr).toContain(words);
          expect(ended.code).toBe(6);
        }
      });
    });
  }

  test('by which an object is missing is named', async () => {
    for (const name of [artifact, manifest, 'key.1.age']) {
      renameSync(path.join(folder, name), path.join(shelf.store, 'away'));
      const { code, stderr } = await shelf.verify(sealed.point.id);
      renameSync(path.join(shelf.store, 'away'), path.join(folder, name));
      expect(code).toBe(6);
      expect(stderr).toContain(name);
    }
  });

  test('of one point does not hide the others', async () => {
    const { id } = await shelveParts(shelf);
    await damaged('backup.json', flip(20), async () => {
      const { code, stdout, stderr } = await shelf.script('list', shelf.store);
      expect(code).toBe(6);
      expect(stdout).toContain(`${id} `);
      expect(stderr).toContain(`not used: docs/${sealed.point.id}/backup.json`);
    });
  });
});

describe('keys', () => {
  test('an identity that the point is not sealed for is told from damage, and for whom it is is said', async () => {
    const stranger = await generateIdentity();
    const file = shelf.fresh('stranger');
    writeFileSync(file, stranger);
    const { code, stderr } = await shelf.script('verify', shelf.store, sealed.point.id, '--identity', file);
    expect(code).toBe(6);
    expect(stderr).toContain(`sealed for ${shelf.place.recipient}`);
    expect(stderr).toContain(`those of ${await recipientOf(stranger)}`);
    expect(stderr).not.toContain(stranger.slice(20));
  });

  test('a file without an identity is refused before anything else, and is not quoted', async () => {
    const texts = {
      'something else than identities': 'secret words\n',
      misspelt: `${shelf.place.identity.slice(0, -1)}Q\n`,
      'is itself encrypted': 'age-encryption.org/v1\n-> scrypt x\n',
      'holds no age identity': '# nothing\n',
    };
    for (const [words, text] of Object.entries(texts)) {
      const file = shelf.fresh('identity');
      writeFileSync(file, text);
      const { code, stderr } = await shelf.script('verify', shelf.store, sealed.point.id, '--identity', file);
      expect({ code, said: stderr.includes(words) }).toEqual({ code: 2, said: true });
      expect(stderr).not.toMatch(/secret words|AGE-SECRET-KEY-1[A-Z0-9]/);
    }
    expect((await shelf.script('verify', shelf.store, sealed.point.id)).stderr).toContain('An identity is needed');
  });

  test('a key that age itself unwrapped will do in place of an identity', async () => {
    const key = await run([await findTool('age'), '-d', '-i', shelf.identityFile, path.join(folder, 'key.1.age')]);
    const file = shelf.fresh('point.key');
    writeFileSync(file, key.stdout);
    const { code, stdout } = await shelf.script('verify', shelf.store, sealed.point.id, '--key', file);
    expect({ code, good: stdout.includes('is good') }).toEqual({ code: 0, good: true });
  });

  test('a point whose key was wrapped anew opens for the new recipients, and for the old ones still', async () => {
    const point = await shelveParts(shelf);
    const to = path.join(shelf.store, 'shop', point.id);
    const identity = await generateIdentity();
    const { key } = await openHere(shelf.place, point);
    writeFileSync(path.join(to, 'key.2.age'), await wrapKey(key, [await recipientOf(identity)]));
    const file = shelf.fresh('new identity');
    writeFileSync(file, identity);
    expect((await shelf.script('verify', shelf.store, point.id, '--identity', file)).code).toBe(0);
    expect((await shelf.verify(point.id)).code).toBe(0);
  });

  test('a point whose former key was taken away is whole without it, and who had that is told for whom it is', async () => {
    const point = await shelveParts(shelf);
    const to = path.join(shelf.store, 'shop', point.id);
    const identity = await generateIdentity();
    const recipient = await recipientOf(identity);
    const { key } = await openHere(shelf.place, point);
    writeFileSync(path.join(to, 'key.2.age'), await rewrapKey(key, point.id, [recipient]));
    rmSync(path.join(to, 'key.1.age'));
    const file = shelf.fresh('new identity');
    writeFileSync(file, identity);
    const unwrapped = await run([await findTool('age'), '-d', '-i', file, path.join(to, 'key.2.age')]);
    expect(unwrapped.stdout).toBe(`${Buffer.from(key).toString('hex')}\n`);
    expect((await shelf.script('verify', shelf.store, point.id, '--identity', file)).code).toBe(0);
    const { code, stderr } = await shelf.verify(point.id);
    expect({ code, said: stderr.includes(`sealed for ${recipient}`) }).toEqual({ code: 6, said: true });
  });

  test('a key of somebody else, wrapped for the same recipient, is passed over; alone it opens nothing', async () => {
    const point = await shelveParts(shelf);
    const to = path.join(shelf.store, 'shop', point.id);
    const forged = await wrapKey(noise(32, 99), [shelf.place.recipient]);
    writeFileSync(path.join(to, 'key.2.age'), forged);
    expect((await shelf.verify(point.id)).code).toBe(0);
    writeFileSync(path.join(to, 'key.1.age'), forged);
    const { code, stderr } = await shelf.verify(point.id);
    expect({ code, said: stderr.includes('another key than the one that sealed it') }).toEqual({
      code: 6,
      said: true,
    });
  });

  test('a signature of somebody else is refused; without a trusted key, it is said who signed', async () => {
    const other = Buffer.alloc(32, 7).toString('base64');
    const refused = await shelf.script(
      'verify',
      shelf.store,
      sealed.point.id,
      '--identity',
      shelf.identityFile,
      '--trusted',
      other,
    );
    expect({ code: refused.code, said: refused.stderr.includes(shelf.trusted) }).toEqual({ code: 6, said: true });
    const noted = await shelf.script('verify', shelf.store, sealed.point.id, '--identity', shelf.identityFile);
    expect(noted.code).toBe(0);
    expect(noted.stderr).toContain(`note: docs/${sealed.point.id} is signed by ${shelf.trusted}`);
  });
});
