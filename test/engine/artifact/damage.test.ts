import { cpSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { assertSealedFor, generateIdentity, openPoint, verifyPoint } from '../../../engine/artifact/index.ts';
import type { Store } from '../../../engine/stores/index.ts';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { ObjectRole, SealedPoint } from '../../../policies/recovery-point.ts';
import {
  failureOf,
  makePlace,
  noise,
  openHere,
  type Place,
  pointDir,
  read,
  sealHere,
  sealParts,
  source,
} from './sealing.ts';

const MiB = 1024 * 1024;
const signal = new AbortController().signal;
const parts = { first: noise(1.5 * MiB, 1), second: noise(1.5 * MiB, 2), third: noise(1.5 * MiB, 3) };

let place: Place;
let point: SealedPoint;
let twin: SealedPoint;
beforeAll(async () => {
  place = await makePlace();
  point = await sealParts(place, parts);
  twin = await sealParts(place, parts);
});
afterAll(() => place.remove());

const fileOf = (role: ObjectRole, of = point) =>
  path.join(pointDir(place, of.id), of.objects.find((o) => o.role === role)?.name ?? '');

/** Runs the body while the object holds other bytes. */
async function damaged<T>(role: ObjectRole, change: (bytes: Buffer) => Uint8Array, body: () => Promise<T>): Promise<T> {
  const file = fileOf(role);
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

const verify = async () => (await verifyPoint(await openHere(place, point), { signal })).problems;

describe('verifying a point', () => {
  test('finds nothing wrong with a good one, and counts what it read', async () => {
    const report = await verifyPoint(await openHere(place, point), { signal });
    expect(report).toEqual({ objects: 3, entries: 3, blocks: 6, bytes: 4.5 * MiB, problems: [] });
  });

  test('names the part that a flipped bit has cost, and only that', async () => {
    const problems = await damaged('artifact', flip(2_300_000), verify);
    expect(problems.join('\n')).toContain('segment 2 of 5');
    expect(problems.join('\n')).toContain('second: the frame at');
    expect(problems.join('\n')).toContain('data.parts.zst.tink has the SHA-256');
    expect(problems.join('\n')).not.toMatch(/first:|third:/);
  });

  test('finds a flipped bit in header, first and last byte of every object', async () => {
    for (const role of ['artifact', 'manifest'] as const) {
      const { length } = readFileSync(fileOf(role));
      for (const at of [0, 1, 39, 40, length - 1]) expect(await damaged(role, flip(at), verify)).not.toEqual([]);
    }
  });

  test('finds segments that were exchanged, repeated, removed or cut off', async () => {
    const exchange = (b: Buffer) =>
      Buffer.concat([b.subarray(0, MiB), b.subarray(2 * MiB, 3 * MiB), b.subarray(MiB, 2 * MiB), b.subarray(3 * MiB)]);
    const repeat = (b: Buffer) => Buffer.concat([b.subarray(0, 2 * MiB), b.subarray(MiB)]);
    const remove = (b: Buffer) => Buffer.concat([b.subarray(0, MiB), b.subarray(2 * MiB)]);
    expect((await damaged('artifact', exchange, verify)).join('\n')).toMatch(/segment 1 of 5[\s\S]*segment 2 of 5/);
    expect((await damaged('artifact', repeat, verify)).join('\n')).toContain('bytes instead of');
    expect((await damaged('artifact', remove, verify)).join('\n')).toContain('bytes instead of');
    const cut = await damaged('artifact', (b) => b.subarray(0, 3.5 * MiB), verify);
    expect(cut.join('\n')).toContain(`has ${3.5 * MiB} bytes instead of`);
    expect(cut.join('\n')).toContain('third: the frame at');
    expect(cut.join('\n')).not.toContain('first:');
    const longer = await damaged('artifact', (b) => Buffer.concat([b, Buffer.alloc(5)]), verify);
    expect(longer.join('\n')).toContain('bytes instead of');
  });

  test('finds that an object is that of another point', async () => {
    const other = readFileSync(fileOf('artifact', twin));
    expect(await damaged('artifact', () => other, verify)).not.toEqual([]);
  });

  test('finds that an object is missing', async () => {
    const file = fileOf('artifact');
    renameSync(file, `${file}.away`);
    try {
      expect((await verify()).join('\n')).toContain('data.parts.zst.tink is not there');
    } finally {
      renameSync(`${file}.away`, file);
    }
  });

  test('does not take an unreachable store for damage', async () => {
    const store: Store = {
      ...place.store,
      get: async (key, range, s) => {
        if (key.includes('data.parts')) throw new Failure('StoreUnreachable', 'no answer', { next: 'Wait.' });
        return place.store.get(key, range, s);
      },
    };
    const reader = await openHere(place, point, store);
    expect(await failureOf(verifyPoint(reader, { signal }))).toMatchObject({ type: 'StoreUnreachable' });
  });

  test('stops when it is told to', async () => {
    const reason = new Error('enough');
    const reader = await openHere(place, point);
    await expect(verifyPoint(reader, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('reads the artifact once', async () => {
    let bytes = 0;
    const store: Store = {
      ...place.store,
      get: async (key, range, s) => {
        const stream = await place.store.get(key, range, s);
        if (key.includes('data.parts')) stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
        return stream;
      },
    };
    await verifyPoint(await openHere(place, point, store), { signal });
    const { bytes: stored = 0 } = point.objects.find((o) => o.role === 'artifact') ?? {};
    expect(bytes).toBeLessThanOrEqual(stored + 40);
  });

  test('checks frames that no entry names, and frames that come out of order', async () => {
    const mixed = await sealHere(place, async (writer) => {
      const piece = (seed: number) => [{ kind: 'bytes' as const, bytes: noise(5000, seed), hash: true }];
      const frames = [await writer.frame(piece(1)), await writer.frame(piece(2)), await writer.frame(piece(3))];
      const blockOf = (n: number) => {
        const { frameOffset = 0, frameBytes = 0, pieces = [] } = frames[n] ?? {};
        return { artifact: 0, frameOffset, frameBytes, offset: 0, bytes: 5000, sha256: pieces[0]?.sha256 ?? '' };
      };
      const entry = { path: Buffer.from('a'), type: 'file' as const, mode: 0, uid: 0, gid: 0, user: '', group: '' };
      const times = { mtimeNs: '0', ctimeNs: '0', dev: '0', ino: '0', size: 5000 };
      await writer.entry({ ...entry, ...times });
      await writer.block(blockOf(2));
      await writer.entry({ ...entry, ...times, path: Buffer.from('b') });
      await writer.block(blockOf(0));
    });
    const report = await verifyPoint(await openHere(place, mixed), { signal });
    expect(report).toEqual({ objects: 3, entries: 2, blocks: 2, bytes: 10_000, problems: [] });
  });
});

describe('damage of any kind', () => {
  let small: SealedPoint;
  beforeAll(async () => {
    small = await sealParts(place, { a: noise(20_000, 7), b: noise(3, 8) });
  });

  const half = (b: Buffer) => b.length >> 1;
  const kinds: Record<string, (b: Buffer, at: number) => Buffer> = {
    'a flipped bit': (b, at) => flip(at)(b),
    'a zeroed byte': (b, at) => Buffer.concat([b.subarray(0, at), Buffer.of(0), b.subarray(at + 1)]),
    'a missing byte': (b, at) => Buffer.concat([b.subarray(0, at), b.subarray(at + 1)]),
    'a byte more': (b, at) => Buffer.concat([b.subarray(0, at), Buffer.of(at & 0xff), b.subarray(at)]),
    'a cut': (b, at) => b.subarray(0, at),
    'a repeated stretch': (b, at) => Buffer.concat([b.subarray(0, at), b]),
    'exchanged halves': (b) => Buffer.concat([b.subarray(half(b)), b.subarray(0, half(b))]),
    nothing: () => Buffer.alloc(0),
  };

  test('at any place of any object is found, and the object named', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('artifact' as const, 'manifest' as const, 'key' as const),
        fc.constantFrom(...Object.keys(kinds)),
        fc.nat(),
        async (role, kind, where) => {
          const file = fileOf(role, small);
          const good = readFileSync(file);
          const bad = kinds[kind]?.(Buffer.from(good), where % good.length) ?? good;
          fc.pre(!bad.equals(good));
          writeFileSync(file, bad);
          try {
            const found = await openHere(place, small).then(
              async (reader) => (await verifyPoint(reader, { signal })).problems.join('\n'),
              (error: unknown) => (isFailure(error, 'Corrupt') ? error.message : Promise.reject(error)),
            );
            expect(found).toMatch(role === 'key' ? /key/ : new RegExp(path.basename(file)));
          } finally {
            writeFileSync(file, good);
          }
        },
      ),
      { numRuns: 120 },
    );
    expect((await verifyPoint(await openHere(place, small), { signal })).problems).toEqual([]);
  });
});

describe('reading a damaged point', () => {
  test('never returns other bytes than were sealed', async () => {
    const ends = readFileSync(fileOf('artifact')).length;
    for (let at = 3; at < ends; at += 0.7 * MiB) {
      await damaged('artifact', flip(Math.floor(at)), async () => {
        const reader = await openHere(place, point);
        let lost = 0;
        for (const [name, bytes] of Object.entries(parts)) {
          const got = await read(reader.content(name)).catch((error: unknown) => error);
          if (Buffer.isBuffer(got)) expect(got.equals(bytes)).toBe(true);
          else {
            expect(got).toMatchObject({ type: 'Corrupt' });
            lost++;
          }
        }
        expect(lost).toBeGreaterThan(0);
      });
    }
  });

  test('says which object has the wrong length before reading any of it', async () => {
    const failure = await damaged(
      'artifact',
      (b) => b.subarray(0, 100),
      async () => failureOf(read((await openHere(place, point)).content('first'))),
    );
    expect(failure).toMatchObject({ type: 'Corrupt', message: expect.stringContaining('has 100 bytes instead of') });
  });

  test('of a part that it does not hold says so', async () => {
    expect(await failureOf(read((await openHere(place, point)).content('fourth')))).toMatchObject({
      message: expect.stringContaining('fourth'),
    });
  });
});

describe('opening a point', () => {
  const opening = (id: string, more: { identity?: string; sealed?: boolean } = {}) =>
    failureOf(
      openPoint({ store: place.store, source: source.name, id, identity: place.identity, sealed: true, ...more }),
    );

  test('that is not there, or only staged, is told from damage', async () => {
    expect(await opening('shop-99')).toMatchObject({
      type: 'PointUnknown',
      message: expect.stringContaining('shop-99'),
    });
    expect(await opening(point.id, { sealed: false })).toMatchObject({ type: 'PointUnknown' });
  });

  test('with an identity that it is not sealed for says for whom it is', async () => {
    expect(await opening(point.id, { identity: await generateIdentity() })).toMatchObject({
      type: 'KeyWrong',
      message: expect.stringContaining(place.recipient),
    });
  });

  test('without its key, or with a garbled one, is told apart', async () => {
    const copy = path.join(place.dir, 'shop/shop-copy');
    cpSync(pointDir(place, point.id), copy, { recursive: true });
    const sealed = path.join(copy, 'sealed.json');
    writeFileSync(sealed, readFileSync(sealed, 'utf8').replace(`"${point.id}"`, '"shop-copy"'));
    truncateSync(path.join(copy, 'key.1.age'), 150);
    expect(await opening('shop-copy')).toMatchObject({ type: 'Corrupt' });
    rmSync(path.join(copy, 'key.1.age'));
    expect(await opening('shop-copy')).toMatchObject({ type: 'KeyMissing' });
    expect(readdirSync(copy)).not.toContain('key.1.age');
  });

  test('whose description is that of another is refused', async () => {
    const copy = path.join(place.dir, 'shop/shop-moved');
    cpSync(pointDir(place, point.id), copy, { recursive: true });
    expect(await opening('shop-moved')).toMatchObject({ type: 'Corrupt', message: expect.stringContaining(point.id) });
  });
});

describe('the encryption check', () => {
  test('passes for exactly the recipients that the policy names', async () => {
    const reader = await openHere(place, point);
    expect(await assertSealedFor(reader, [place.recipient])).toMatchObject({ passed: true });
    expect(await assertSealedFor(reader, [place.recipient, 'age1more'])).toMatchObject({
      passed: false,
      error: expect.stringContaining('age1more'),
    });
    expect(await assertSealedFor(reader, [])).toMatchObject({ passed: false });
  });
});
