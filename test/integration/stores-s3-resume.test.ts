import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fileSource, type Store, verifyObject } from '../../engine/stores/index.ts';
import type { PutProgress } from '../../engine/stores/store.ts';
import { ensureBucket, s3Client, startS3 } from '../../scripts/stack/s3.ts';
import type { RunningS3 } from '../../scripts/stack/types.ts';
import { content, keysOf, ownPrefix, pendingOf, put, sha256Of } from '../engine/stores/fixture.ts';
import { eventually } from '../support/eventually.ts';
import type { PutFileOrder } from '../support/put-file.ts';
import { type S3Proxy, startS3Proxy } from '../support/s3-proxy.ts';
import { partBytes, s3Store } from '../support/s3-store.ts';

/** Uploads whose process is killed, counted at the server by its own access log; and listings of many pages. */

const dir = mkdtempSync(path.join(tmpdir(), 'stores-resume-'));
const accessLog = path.join(dir, 'access.log');
const bucket = 'backups';
let server: RunningS3;
let proxy: S3Proxy;
let store: Store;
beforeAll(async () => {
  server = await startS3({ dir: path.join(dir, 's3'), region: 'us-east-1', accessLog });
  await ensureBucket(server, bucket);
  proxy = await startS3Proxy(server);
  store = s3Store(server, bucket);
});
afterAll(async () => {
  await store?.close();
  await proxy?.stop();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** How often the server did this for the key. */
const served = (operation: string, key: string) =>
  readFileSync(accessLog, 'utf8')
    .split('\n')
    .filter((line) => line.includes(` s3_${operation} `) && line.includes(key)).length;

const parts = 8;

/** Puts the file in another process, which is killed when the server holds some of its parts. */
async function putAndDie(key: string, file: string, facts: { bytes: number; sha256: string }): Promise<PutProgress> {
  // The server takes these parts, and the process never hears of the last ones.
  let answered = 0;
  proxy.meddle = ({ operation }) => (operation === 'UploadPart' && ++answered > 3 ? 'hang' : null);
  const { endpoint, region, accessKeyId, secretAccessKey } = proxy;
  const order: PutFileOrder = {
    ...{ service: { endpoint, region, accessKeyId, secretAccessKey }, bucket, key, file },
    ...facts,
  };
  const child = spawn(process.execPath, [path.join(import.meta.dirname, '../support/put-file.ts')], {
    env: { ...process.env, NODE_OPTIONS: '', PUT_FILE: JSON.stringify(order) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  child.stdout.on('data', (chunk: Buffer) => lines.push(...chunk.toString().split('\n').filter(Boolean)));
  const ended = new Promise((resolve) => child.once('close', resolve));
  // Two are under way at once.
  await eventually(() => expect(served('UploadPart', key)).toBe(5), 120_000);
  child.kill('SIGKILL');
  await ended;
  return JSON.parse(lines.at(-1) ?? '') as PutProgress;
}

describe('an upload whose process was killed', () => {
  test.each(['by its token', 'without its token'])('goes on %s, and no part is sent twice', async (how) => {
    const key = `${ownPrefix()}object`;
    const bytes = content((parts - 1) * partBytes + 1000);
    const file = path.join(dir, 'staged');
    writeFileSync(file, bytes);
    const facts = { bytes: bytes.length, sha256: sha256Of(bytes) };
    const last = await putAndDie(key, file, facts);
    expect(last.bytesDone).toBe(3 * partBytes);
    const told: number[] = [];
    await store.put(key, fileSource(file, facts), {
      ...(how === 'by its token' ? { resume: last.resume } : {}),
      onProgress: (p) => told.push(p.bytesDone),
    });
    expect(served('UploadPart', key)).toBe(parts);
    expect(served('CreateMultipartUpload', key)).toBe(1);
    expect(served('CompleteMultipartUpload', key)).toBe(1);
    expect(told.at(-1)).toBe(bytes.length);
    await verifyObject(store, key, facts);
    expect(await pendingOf(store, key)).toEqual([]);
  });
});

describe('listings of many pages', () => {
  test('tell every object once, in order', async () => {
    // The server's objects are files: so many are not made by as many requests.
    const folder = path.join(dir, 's3', bucket, 'many');
    const names = Array.from(
      { length: 2300 },
      (_, i) => `${String(i % 7).padStart(2, '0')}/${String(i).padStart(5, '0')}`,
    );
    for (let i = 0; i < 7; i++) mkdirSync(path.join(folder, String(i).padStart(2, '0')), { recursive: true });
    for (const name of names) writeFileSync(path.join(folder, name), name);
    expect(await keysOf(store, 'many/')).toEqual(names.map((name) => `many/${name}`).sort());
    expect(await keysOf(store, 'many/03/')).toHaveLength(names.filter((name) => name.startsWith('03/')).length);
  });

  test('tell every put that is under way', async () => {
    const client = s3Client(server);
    // Three to a key, so that a page ends between two of one key.
    const keys = Array.from({ length: 1101 }, (_, i) => `pending/${String(Math.floor(i / 3)).padStart(5, '0')}`);
    const queue = [...keys];
    const lane = async () => {
      for (let Key = queue.pop(); Key !== undefined; Key = queue.pop()) {
        await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key }));
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
    client.destroy();
    const listed = (await pendingOf(store, 'pending/')).map((p) => p.key);
    expect(listed.sort()).toEqual(keys);
  });
});

describe('an object of very large parts', () => {
  test('is sent as a stream, read twice, and held in memory never', async () => {
    const bytes = 66 * 1024 * 1024;
    const file = path.join(dir, 'very large');
    writeFileSync(file, Buffer.alloc(bytes, 'x'));
    const facts = { bytes, sha256: sha256Of(readFileSync(file)) };
    const roomy = s3Store(server, bucket, { partBytes: 65 * 1024 * 1024 });
    try {
      expect(await roomy.put('very large', fileSource(file, facts), {})).toMatchObject(facts);
      await verifyObject(roomy, 'very large', facts);
      expect(served('UploadPart', 'very')).toBe(2);
    } finally {
      await roomy.close();
    }
    await put(store, 'after it', 'x');
  });
});
