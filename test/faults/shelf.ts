import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DeleteObjectCommand, HeadObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import {
  createWalObject,
  generateSigningKey,
  openPoint,
  publicKeyOf,
  readSigningKey,
  type SigningKey,
  signBackupJson,
  verifyPoint,
} from '../../engine/artifact/index.ts';
import { createFilesSource } from '../../engine/sources/index.ts';
import { verifyWal } from '../../engine/sources/wal/index.ts';
import { bytesSource, createDirectoryStore, type Store } from '../../engine/stores/index.ts';
import { createS3Store } from '../../engine/stores/s3/store.ts';
import { placeWayOut } from '../../engine/way-out/index.ts';
import { isFailure } from '../../policies/failure.ts';
import { filesSource } from '../../policies/policy.ts';
import {
  type BackupJson,
  backupJson,
  backupJsonName,
  pointPrefix,
  type SealedPoint,
} from '../../policies/recovery-point.ts';
import type { RepairPart } from '../../policies/repair.ts';
import { lsnText } from '../../policies/wal.ts';
import { walHistoryKey, walRangeKey } from '../../policies/wal-bundle.ts';
import { s3Client } from '../../scripts/stack/s3.ts';
import { makePlace, noise, type Place, sealParts } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { makeBucket, services } from '../support/services.ts';

/** A folder and a bucket that hold the same: points of both formats, a chain, WAL with a history, and the way out. */
export interface Shelf {
  disk: Store;
  s3: Store;
  trusted: string[];
  signer: SigningKey;
  /** Every object, by its key. */
  objects: Map<string, ShelvedObject>;
  points: BackupJson[];
  /** Lays bytes, or nothing, where an object is, past the store's own rules. */
  lay(store: Store, key: string, bytes: Buffer | null): Promise<void>;
  /** What `backup verify` says of the point, or `wal verify --read` of the WAL, in one store. */
  verify(store: Store, part: RepairPart): Promise<string[]>;
  remove(): Promise<void>;
}

export interface ShelvedObject {
  key: string;
  bytes: Buffer;
  part: RepairPart;
  /** Objects of one kind may be taken for each other. */
  kind: 'artifact' | 'manifest' | 'key' | 'description' | 'wal' | 'way-out';
}

const signal = new AbortController().signal;
const cluster = 'cluster';

export async function makeShelf(): Promise<Shelf> {
  const place = await makePlace();
  const root = path.join(place.dir, 'disk');
  mkdirSync(root);
  const { east } = (await services()).s3;
  const bucket = await makeBucket(east);
  const client = s3Client(east);
  const disk = createDirectoryStore({ name: 'disk', path: root });
  const s3 = createS3Store({ name: 's3', bucket, forcePathStyle: true, ...east, credentials: east });
  const signer = readSigningKey(generateSigningKey());
  const trusted = [publicKeyOf(signer)];
  const objects = new Map<string, ShelvedObject>();
  const points: BackupJson[] = [];

  const add = async (object: ShelvedObject) => {
    objects.set(object.key, object);
    for (const store of [disk, s3]) await store.put(object.key, bytesSource(object.bytes), {});
  };
  for (const point of await sealPoints(place)) {
    const text = signBackupJson(
      { ...point, validation: { finishedAt: point.sealedAt, passed: true, checks: [] } },
      signer,
    );
    const prefix = pointPrefix(point.source.name, point.id);
    const part = { kind: 'point', source: point.source.name, pointId: point.id } as const;
    for (const { name, role } of point.objects) {
      const bytes = readFileSync(path.join(place.dir, prefix, name));
      await add({ key: prefix + name, bytes, part, kind: role });
    }
    await add({ key: prefix + backupJsonName, bytes: Buffer.from(text), part, kind: 'description' });
    points.push(backupJson.parse(JSON.parse(text)));
  }
  for (const key of await sealWal(place, signer)) {
    const bytes = readFileSync(path.join(place.dir, key));
    await add({ key, bytes, part: { kind: 'wal', source: cluster }, kind: 'wal' });
  }
  for (const store of [disk, s3]) await placeWayOut(store);
  for await (const { key } of disk.list('')) {
    if (objects.has(key)) continue;
    objects.set(key, { key, bytes: readFileSync(path.join(root, key)), part: { kind: 'way-out' }, kind: 'way-out' });
  }

  return {
    ...{ disk, s3, trusted, signer, objects, points },
    lay: (store, key, bytes) =>
      store === disk ? layInFolder(root, key, bytes) : layInBucket(client, bucket, key, bytes),
    async verify(store, part) {
      const { identity } = place;
      if (part.kind === 'way-out') return [];
      try {
        if (part.kind === 'wal') {
          const { gaps, problems } = await verifyWal({ store, source: cluster, trusted, identity, signal });
          return [...problems, ...gaps.map((g) => `missing: ${lsnText(g.from)} to ${lsnText(g.to)}`)];
        }
        const reader = await openPoint({ store, source: part.source, id: part.pointId, identity, trusted });
        return (await verifyPoint(reader, { signal })).problems;
      } catch (error) {
        const damage = ['Corrupt', 'SignatureInvalid', 'KeyMissing', 'PointUnknown', 'FormatUnsupported'] as const;
        if (isFailure(error, ...damage)) return [error.message];
        throw error;
      }
    },
    async remove() {
      await s3.close();
      client.destroy();
      await place.remove();
    },
  };
}

/** Two of parts, and a chain of three of a tree. */
async function sealPoints(place: Place): Promise<SealedPoint[]> {
  const tree = path.join(place.dir, 'tree');
  mkdirSync(tree);
  for (const [i, name] of ['a', 'b', 'c'].entries()) writeFileSync(path.join(tree, name), noise(20_000 + i, i + 1));
  const source = createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: tree }));
  const chain: SealedSource[] = [];
  for (let i = 0; i < 3; i++) {
    chain.push(await sealSource(place, source, signal, undefined, { since: chain.at(-1) ?? null, trusted: [] }));
    writeFileSync(path.join(tree, 'b'), noise(9_000 + i, 10 + i));
  }
  return [
    await sealParts(place, { dump: noise(30_000, 21), globals: noise(500, 22) }),
    await sealParts(place, { dump: noise(31_000, 23), globals: noise(600, 24) }),
    ...chain.map((c) => c.point),
  ];
}

/** Three ranges that follow each other, and a history file. Pages of zeros are such as follow a switch of segments. */
async function sealWal(place: Place, signingKey: SigningKey): Promise<string[]> {
  const keys: string[] = [];
  const seal = async (kind: 'range' | 'history', at: number, bytes: Buffer) => {
    const id = `${cluster}-wal-${at}`;
    const wal = await createWalObject({ root: place.dir, id, recipients: [place.recipient], signingKey });
    await wal.write(bytes);
    const start = BigInt(at) * 0x4000n;
    const range = { timeline: 2, start, end: start + BigInt(bytes.length), until: `2026-01-02T03:04:0${at}.000Z` };
    const own =
      kind === 'history'
        ? { kind, ancestors: [{ timeline: 1, until: '0/4000' }] }
        : {
            kind,
            startLsn: lsnText(range.start),
            endLsn: lsnText(range.end),
            segmentBytes: 16 * 1024 * 1024,
            serverMajor: 15,
            until: range.until,
            transactions: { count: 0, firstAt: null, lastAt: null, xids: null },
            restorePoints: [],
          };
    keys.push(
      await wal.finish((sealed) => ({
        key: kind === 'range' ? walRangeKey(cluster, range, '0000000a') : walHistoryKey(cluster, 2, '0000000b'),
        header: {
          ...sealed,
          ...own,
          source: { name: cluster, host: 'local' },
          systemIdentifier: '7',
          timeline: 2,
          software: 'tests',
        },
      })),
    );
  };
  for (let at = 1; at <= 3; at++) {
    const pages = noise(0x4000, 30 + at);
    for (let page = 0; page < pages.length; page += 8192) pages.writeUInt16LE(0, page);
    await seal('range', at, pages);
  }
  await seal('history', 4, Buffer.from('1\t0/4000\tno recovery target specified\n'));
  return keys;
}

async function layInFolder(root: string, key: string, bytes: Buffer | null): Promise<void> {
  if (bytes) writeFileSync(path.join(root, key), bytes);
  else rmSync(path.join(root, key));
}

/** Lets everything else look as it did. */
async function layInBucket(client: S3Client, bucket: string, key: string, bytes: Buffer | null): Promise<void> {
  const at = { Bucket: bucket, Key: key };
  if (!bytes) {
    await client.send(new DeleteObjectCommand(at));
    return;
  }
  const { Metadata } = await client.send(new HeadObjectCommand(at));
  await client.send(new PutObjectCommand({ ...at, Body: bytes, ...(Metadata ? { Metadata } : {}) }));
}
