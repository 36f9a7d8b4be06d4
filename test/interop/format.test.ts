import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { generateSigningKey, readSigningKey, signBackupJson } from '../../engine/artifact/index.ts';
import { openStream, StreamEncryptor } from '../../engine/artifact/tink.ts';
import type { SealedPoint } from '../../policies/recovery-point.ts';
import { findTool, pythonVenv } from '../../scripts/stack/find.ts';
import { makePlace, noise, type Place, pointDir, sealParts } from '../engine/artifact/sealing.ts';

/** Other people's programs read what we write: Google Tink, age, zstd, openssl. */

const here = import.meta.dirname;
const parts = {
  dump: Buffer.concat([noise(5_000_000), Buffer.alloc(3_000_000, 'x')]),
  globals: Buffer.from('create role shop;\n'),
};

let place: Place;
let point: SealedPoint;
let python: string;
let scratch: string;
beforeAll(async () => {
  scratch = mkdtempSync(path.join(tmpdir(), 'interop-'));
  place = await makePlace();
  point = await sealParts(place, parts);
  python = path.join(await pythonVenv(path.join(here, 'requirements.txt')), 'bin', 'python');
}, 600_000);
afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await place.remove();
});

async function run(program: string, args: string[], input: Uint8Array = new Uint8Array()): Promise<Buffer> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  // A program that ends early does not read its input to the end.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code !== 0)
    throw new Error(`${path.basename(program)} ended with ${code}: ${Buffer.concat(errors).toString().slice(-500)}`);
  return Buffer.concat(out);
}

const tink = (direction: 'encrypt' | 'decrypt', key: string, associatedData: string, input: Uint8Array) =>
  run(python, [path.join(here, 'tink_stream.py'), direction, key, associatedData], input);

const objectFile = (name: string) => path.join(pointDir(place, point.id), name);

/** By the age command, with the identity in a file as people keep it. */
async function pointKey(): Promise<string> {
  const identityFile = path.join(scratch, 'identity.txt');
  writeFileSync(identityFile, `# made for a test\n${place.identity}\n`, { mode: 0o600 });
  return (await run(await findTool('age'), ['-d', '-i', identityFile, objectFile('key.1.age')])).toString();
}

describe('with nothing but age, a Tink library and zstd', () => {
  test('the key is unwrapped, as 64 hex digits and a newline', async () => {
    expect(await pointKey()).toMatch(/^[0-9a-f]{64}\n$/);
  });

  test('the artifact is decrypted and decompressed to exactly what was sealed', async () => {
    const key = (await pointKey()).trim();
    const stream = await tink('decrypt', key, `${point.id}/artifact`, readFileSync(objectFile('data.parts.zst.tink')));
    const content = await run(await findTool('zstd'), ['-d', '-c'], stream);
    expect(content.equals(Buffer.concat([parts.dump, parts.globals]))).toBe(true);
  });

  test('a single block is found through the manifest, and its frame decompressed alone', async () => {
    const key = (await pointKey()).trim();
    const zstd = await findTool('zstd');
    const sealed = readFileSync(objectFile('manifest.ndjson.zst.tink'));
    const text = await run(zstd, ['-d', '-c'], await tink('decrypt', key, `${point.id}/manifest`, sealed));
    const lines = text
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines[0]).toEqual({
      format: 'backup-coordinator/manifest/1',
      id: point.id,
      artifacts: [{ id: point.id, source: 'shop' }],
    });
    expect(lines.at(-1)).toEqual({ end: { entries: 2, blocks: 9, bytes: 8_000_018 } });
    const [artifact, frameOffset, frameBytes, offset, bytes, sha256] = lines[2].blocks[2];
    expect([artifact, lines[1].p, bytes]).toEqual([0, 'dump', 1024 * 1024]);
    const stream = await tink('decrypt', key, `${point.id}/artifact`, readFileSync(objectFile('data.parts.zst.tink')));
    const frame = await run(zstd, ['-d', '-c'], stream.subarray(frameOffset, frameOffset + frameBytes));
    const block = frame.subarray(offset, offset + bytes);
    expect(createHash('sha256').update(block).digest('hex')).toBe(sha256);
    expect(block.equals(parts.dump.subarray(2 * 1024 * 1024, 3 * 1024 * 1024))).toBe(true);
  });

  test('zstd itself finds every frame sound, each with its checksum', async () => {
    const key = (await pointKey()).trim();
    const stream = await tink('decrypt', key, `${point.id}/artifact`, readFileSync(objectFile('data.parts.zst.tink')));
    const file = path.join(scratch, 'data.zst');
    writeFileSync(file, stream);
    const zstd = await findTool('zstd');
    await run(zstd, ['--test', '-q', file]);
    const listing = (await run(zstd, ['-l', '-v', file])).toString();
    expect(listing).toMatch(/Frames: 3/);
    expect(listing).toMatch(/Check: XXH64/);
  });
});

describe('Google Tink', () => {
  test('refuses the artifact under the name of the manifest, and one that was cut at a segment', async () => {
    const key = (await pointKey()).trim();
    const cipher = readFileSync(objectFile('data.parts.zst.tink'));
    await expect(tink('decrypt', key, `${point.id}/manifest`, cipher)).rejects.toThrow('python ended with 1');
    await expect(tink('decrypt', key, `${point.id}/artifact`, cipher.subarray(0, 1024 * 1024))).rejects.toThrow(
      'ended with 1',
    );
  });

  const segment = 1024 * 1024;
  for (const bytes of [0, 1, segment - 57, segment - 56, segment - 55, 2 * segment - 72, 2 * segment - 71]) {
    test(`and we read each other's streams of ${bytes} bytes`, async () => {
      const key = noise(32, 5);
      const hex = key.toString('hex');
      const plain = noise(bytes, 9);
      const ours: Buffer[] = [];
      const encryptor = new StreamEncryptor({ key, associatedData: 'a/b' }, (chunk) => ours.push(Buffer.from(chunk)));
      encryptor.write(plain);
      encryptor.end();
      expect((await tink('decrypt', hex, 'a/b', Buffer.concat(ours))).equals(plain)).toBe(true);

      const theirs = await tink('encrypt', hex, 'a/b', plain);
      expect(theirs.length).toBe(Buffer.concat(ours).length);
      const stream = await openStream({
        key,
        associatedData: 'a/b',
        name: 'theirs',
        cipherBytes: theirs.length,
        fetch: async (offset, length) => Readable.from([Buffer.from(theirs.subarray(offset, offset + length))]),
      });
      expect((await stream.read(0, stream.plainBytes)).equals(plain)).toBe(true);
    });
  }
});

test('openssl derives from the key what backup.json says of it', async () => {
  const key = (await pointKey()).trim();
  const options = ['digest:SHA256', `hexkey:${key}`, `info:${point.id}/key`].flatMap((o) => ['-kdfopt', o]);
  const derived = await run('openssl', ['kdf', '-keylen', '32', ...options, 'HKDF']);
  expect(derived.toString().trim().replaceAll(':', '').toLowerCase()).toBe(point.encryption.keyCheck);
});

test('openssl verifies the signature of backup.json over its canonical form', async () => {
  const signing = readSigningKey(generateSigningKey());
  const validation = { finishedAt: '2026-01-02T03:06:05.000Z', passed: true, checks: [] };
  const facts = { database: 'shöp', bytes: 12, empty: null, open: true };
  const text = signBackupJson({ ...point, facts, validation }, signing);
  const verify = async (document: string) => {
    await run(python, [path.join(here, 'verify_signature.py'), scratch], Buffer.from(document));
    const file = (name: string) => path.join(scratch, name);
    const key = ['-pubin', '-keyform', 'DER', '-inkey', file('public.der')];
    return run('openssl', [
      'pkeyutl',
      '-verify',
      ...key,
      '-rawin',
      '-in',
      file('canonical'),
      '-sigfile',
      file('value'),
    ]);
  };
  expect((await verify(text)).toString()).toContain('Verified Successfully');
  await expect(verify(text.replace('"bytes": 12', '"bytes": 13'))).rejects.toThrow();
});
