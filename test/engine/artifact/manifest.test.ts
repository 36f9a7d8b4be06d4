import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Block, comparePaths, type Entry } from '../../../engine/artifact/index.ts';
import { decodeManifest, ManifestEncoder } from '../../../engine/artifact/manifest.ts';
import { entryOf, failureOf } from './sealing.ts';

const header = { id: 'shop-1', artifacts: [{ id: 'shop-1', source: 'shop' }] };

function encode(entries: (Entry & { blocks?: Block[] })[]): string {
  const out: string[] = [];
  const encoder = new ManifestEncoder(header, (text) => out.push(text));
  for (const { blocks, ...entry } of entries) {
    encoder.entry(entry);
    for (const block of blocks ?? []) encoder.block(block);
  }
  encoder.end();
  return out.join('');
}

async function* linesOf(text: string): AsyncGenerator<string> {
  yield* text.split('\n').slice(0, -1);
}

async function decode(text: string): Promise<(Entry & { blocks: Block[] })[]> {
  const { entries } = await decodeManifest(linesOf(text));
  const found: (Entry & { blocks: Block[] })[] = [];
  for await (const entry of entries) {
    const blocks: Block[] = [];
    for await (const block of entry.blocks) blocks.push(block);
    found.push({ ...entry, blocks });
  }
  return found;
}

/** How reading ends. */
type Reader = (entries: AsyncGenerator<unknown>) => Promise<unknown>;

describe('what a manifest is read from', () => {
  const text = encode([entryOf('a'), entryOf('b')]);

  test.each<[string, string, Reader]>([
    ['nobody reads on behind the header', text, async (entries) => entries.return(undefined)],
    [
      'somebody stops half-way',
      text,
      async (entries) => {
        for await (const _ of entries) break;
      },
    ],
    [
      'it was read to its end',
      text,
      async (entries) =>
        entries
          .next()
          .then(() => entries.next())
          .then(() => entries.next()),
    ],
    [
      'it is malformed',
      text.replace('"b"', '"a"'),
      async (entries) => failureOf(entries.next().then(() => entries.next())),
    ],
  ])('is let go when %s', async (_when, lines, read) => {
    let isOpen = true;
    const source = (async function* () {
      try {
        yield* linesOf(lines);
      } finally {
        isOpen = false;
      }
    })();
    await read((await decodeManifest(source)).entries);
    expect(isOpen).toBe(false);
  });
});

const blockAt = (n: number): Block => ({
  artifact: 0,
  frameOffset: n * 10,
  frameBytes: 10,
  offset: n,
  bytes: 5,
  sha256: n.toString(16).padStart(64, '0'),
});

/** Of which two stretches lie in one frame; with hashes of its pages, or without. */
const patchworkAt = (n: number): Block => {
  const frame = { artifact: 0, frameOffset: n * 10, frameBytes: 10 };
  return {
    bytes: 9,
    sha256: n.toString(16).padStart(64, '0'),
    stretches: [
      { ...frame, offset: 7, bytes: 2 },
      { ...frame, frameOffset: n, offset: 0, bytes: 3 },
      { ...frame, offset: n, bytes: 4 },
    ],
    ...(n % 2 === 0 ? { pages: 'AAECAwQFBgc=' } : {}),
  };
};

const bytes = (max: number) =>
  fc.uint8Array({ minLength: 1, maxLength: max }).map((b) => Buffer.from(b.map((x) => x || 1)));
const number32 = fc.nat(4_294_967_295);
const nanoseconds = fc.bigInt({ min: -(10n ** 18n), max: 4n * 10n ** 18n }).map((n) => String(n));
const entries: fc.Arbitrary<Entry> = fc.record(
  {
    path: bytes(12),
    type: fc.constantFrom('file', 'directory', 'symlink', 'hardlink', 'fifo', 'char', 'block'),
    mode: fc.nat(0o7777),
    uid: number32,
    gid: number32,
    user: fc.string({ maxLength: 5 }),
    group: fc.string({ maxLength: 5 }),
    mtimeNs: nanoseconds,
    ctimeNs: nanoseconds,
    dev: number32.map((n) => String(n)),
    ino: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((n) => String(n)),
    size: fc.maxSafeNat(),
    sparse: fc.constant(true),
    link: bytes(12),
    rdev: fc.record({ major: number32, minor: number32 }),
    xattrs: fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), bytes(8), {
      minKeys: 1,
      maxKeys: 3,
      noNullPrototype: true,
    }),
    streamed: fc.constant(true),
    unstable: fc.constant(true),
  },
  {
    requiredKeys: ['path', 'type', 'mode', 'uid', 'gid', 'user', 'group', 'mtimeNs', 'ctimeNs', 'dev', 'ino', 'size'],
    noNullPrototype: true,
  },
);

describe('the manifest', () => {
  test('gives back every entry and every block as written, names that are no UTF-8 included', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(entries, { maxLength: 6, selector: (e) => Buffer.from(e.path).toString('latin1') }),
        fc.nat(600),
        async (some, n) => {
          const sorted = some.sort((a, b) => comparePaths(a.path, b.path));
          const blocks = Array.from({ length: n }, (_, i) => (i % 3 === 2 ? patchworkAt(i) : blockAt(i)));
          const written = sorted.map((e, i) => ({ ...e, blocks: i === 0 ? blocks : [] }));
          const found = await decode(encode(written));
          expect(found.map(plain)).toEqual(written.map(plain));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('sorts a folder right before what it holds, whatever its neighbours are called', () => {
    const names = ['a', 'a/b', 'a/b/c', 'a!', 'a-b', 'a-b/c', 'ab'];
    const sorted = names.map((n) => Buffer.from(n)).sort(comparePaths);
    expect(sorted.map((n) => String(n))).toEqual(names);
  });

  test('lets a reader pass over the blocks of entries that it does not want', async () => {
    const blocks = Array.from({ length: 700 }, (_, i) => blockAt(i));
    const text = encode([{ ...entryOf('a'), blocks }, { ...entryOf('b'), blocks: blocks.slice(0, 3) }, entryOf('c')]);
    const { entries: found } = await decodeManifest(linesOf(text));
    const seen: string[] = [];
    for await (const entry of found) {
      seen.push(Buffer.from(entry.path).toString());
      for await (const _ of entry.blocks) break;
    }
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('does not give the blocks of one entry to another', async () => {
    const text = encode([
      { ...entryOf('a'), blocks: [blockAt(1)] },
      { ...entryOf('b'), blocks: [blockAt(2)] },
    ]);
    const { entries: found } = await decodeManifest(linesOf(text));
    const first = await found.next();
    await found.next();
    if (first.done) throw new Error('no entry');
    await expect(first.value.blocks[Symbol.asyncIterator]().next()).rejects.toThrow('before the next entry');
  });

  test('marks an entry that was found to have changed after its blocks went ahead', async () => {
    const out: string[] = [];
    const encoder = new ManifestEncoder(header, (text) => out.push(text));
    encoder.entry(entryOf('a'));
    encoder.block(blockAt(1));
    encoder.unstable();
    encoder.entry(entryOf('b'));
    encoder.end();
    const { entries: decoded } = await decodeManifest(linesOf(out.join('')));
    const found: unknown[] = [];
    for await (const entry of decoded) {
      for await (const _ of entry.blocks);
      found.push(String(entry.path), entry.unstable ?? false);
    }
    expect(found).toEqual(['a', true, 'b', false]);
  });
});

describe('a damaged manifest is refused:', () => {
  const good = encode([{ ...entryOf('a'), blocks: [blockAt(1)] }, entryOf('b')]);
  const lines = good.trimEnd().split('\n');
  const joined = (some: (string | undefined)[]) => `${some.join('\n')}\n`;
  const cases: Record<string, [string, string]> = {
    'it is empty': ['', 'empty'],
    'its end is missing': [joined(lines.slice(0, -1)), 'cut off'],
    'an entry is missing': [joined([...lines.slice(0, 3), ...lines.slice(4)]), 'names 2 entries at its end but has 1'],
    'blocks are missing': [joined([...lines.slice(0, 2), ...lines.slice(3)]), 'blocks'],
    'an entry comes twice': [joined([...lines.slice(0, 4), lines[3], ...lines.slice(4)]), 'out of order'],
    'entries are out of order': [joined([lines[0], lines[3], lines[1], lines[2], lines[4]]), 'out of order'],
    'something follows its end': [joined([...lines, lines[3]]), 'follows its end'],
    'a line is no JSON': [joined([lines[0], '{"p":', ...lines.slice(1)]), 'not JSON'],
    'a line is no object': [joined([lines[0], '17', ...lines.slice(1)]), 'no JSON object'],
    'an entry lacks its time': [joined([lines[0], '{"p":"a","t":"f","m":1}', ...lines.slice(3)]), 'no entry'],
    'an entry has an unknown type': [
      joined([lines[0], '{"p":"a","t":"?","m":1,"mt":"1"}', ...lines.slice(3)]),
      'unknown type',
    ],
    'a block lies nowhere': [
      joined([...lines.slice(0, 2), '{"blocks":[[0,-1,1,1,1,"00"]]}', ...lines.slice(3)]),
      'should be a block',
    ],
    'a block is null': [joined([...lines.slice(0, 2), '{"blocks":[null]}', ...lines.slice(3)]), 'should be a block'],
    'the end has no counts': [joined([...lines.slice(0, -1), '{"end":null}']), 'at its end'],
  };
  for (const [name, [text, reason]] of Object.entries(cases)) {
    test(name, async () => {
      const { type, message } = await failureOf(decode(text));
      expect(type).toBe('Corrupt');
      expect(message).toContain(reason);
    });
  }

  const hash = '0'.repeat(64);
  const MiB = 1024 * 1024;
  const hostileBlocks: Record<string, unknown[]> = {
    'of an artifact that the header does not name': [1, 0, 10, 0, 5, hash],
    'in a frame larger than frames are': [0, 0, 2 ** 40, 0, 5, hash],
    'beyond what a frame may hold': [0, 0, 10, 4 * MiB, 5, hash],
    'larger than a frame': [0, 0, 10, 0, 4 * MiB + 1, hash],
    'of no bytes': [0, 0, 10, 0, 0, hash],
    'at half a byte': [0, 0.5, 10, 0, 5, hash],
    'at a place beyond counting': [0, 2 ** 60, 10, 0, 5, hash],
    'without a hash': [0, 0, 10, 0, 5],
    'with a number for a hash': [0, 0, 10, 0, 5, 7],
    'with something more': [0, 0, 10, 0, 5, hash, 1],
    'in stretches that are none': [5, hash, [[0, 0, 10]], [[0, 0]]],
    'in stretches of no frame': [5, hash, [[0, 0, 10]], [[1, 0, 5]]],
    'in stretches of no artifact': [5, hash, [[1, 0, 10]], [[0, 0, 5]]],
    'in stretches that sum up to something else': [5, hash, [[0, 0, 10]], [[0, 0, 4]]],
    'in stretches beyond what a frame may hold': [5, hash, [[0, 0, 10]], [[0, 4 * MiB, 5]]],
    'in more stretches than there may be': [9000, hash, [[0, 0, 10]], Array(9000).fill([0, 0, 1])],
    'in no stretches': [0, hash, [], []],
    'in stretches, larger than a frame': [8 * MiB, hash, [[0, 0, 10]], Array(2).fill([0, 0, 4 * MiB])],
  };
  for (const [name, tuple] of Object.entries(hostileBlocks)) {
    test(`a block ${name}`, async () => {
      const line = JSON.stringify({ blocks: [tuple] });
      expect(await failureOf(decode(joined([...lines.slice(0, 2), line, ...lines.slice(3)])))).toMatchObject({
        type: 'Corrupt',
        message: expect.stringContaining('should be a block'),
      });
    });
  }

  const hostileEntries: Record<string, string> = {
    'a time that is no number': '"mt":"soon"',
    'a time of a million digits': `"mt":"${'9'.repeat(1_000_000)}"`,
    'a time that is a list': '"mt":["1"]',
    'a mode beyond the bits there are': '"mt":"1","m":65536',
    'an owner beyond 32 bits': '"mt":"1","u":4294967296',
    'a name of an owner that is a list': '"mt":"1","un":["root"]',
    'a device without its second number': '"mt":"1","r":[1]',
    'a device that is a text': '"mt":"1","r":"ab"',
    'attributes that are a list': '"mt":"1","x":["a"]',
    'an attribute that is a number': '"mt":"1","x":{"user.a":4294967295}',
    'a size below nothing': '"mt":"1","s":-1',
    'a path that is nested without end': `"mt":"1","p":${'['.repeat(100_000)}${']'.repeat(100_000)}`,
  };
  for (const [name, fields] of Object.entries(hostileEntries)) {
    test(`an entry has ${name}`, async () => {
      const line = `{"p":"a","t":"f","m":1,${fields}}`;
      const { type, message } = await failureOf(decode(joined([lines[0], line, ...lines.slice(3)])));
      expect(type).toBe('Corrupt');
      expect(message.length).toBeLessThan(400);
    });
  }

  const headers: Record<string, string> = {
    'names no artifact': '"id":"shop-1","artifacts":[]',
    'does not name its own artifact first': '"id":"shop-1","artifacts":[{"id":"shop-0","source":"shop"}]',
    'names an artifact of no source': '"id":"shop-1","artifacts":[{"id":"shop-1"}]',
    'names no list': '"id":"shop-1","artifacts":{"length":1}',
  };
  for (const [name, fields] of Object.entries(headers)) {
    test(`its header ${name}`, async () => {
      const line = `{"format":"backup-coordinator/manifest/1",${fields}}`;
      expect(await failureOf(decode(joined([line, ...lines.slice(1)])))).toMatchObject({
        type: 'Corrupt',
        message: expect.stringContaining('header is incomplete'),
      });
    });
  }

  test('a newer format is told from damage', async () => {
    const newer = good.replace('manifest/1', 'manifest/2');
    expect(await failureOf(decode(newer))).toMatchObject({
      type: 'FormatUnsupported',
      message: expect.stringContaining('manifest/2'),
    });
  });
});

function plain({ path, link, xattrs, ...rest }: Entry & { blocks: Block[] }) {
  return {
    ...rest,
    path: Buffer.from(path).toString('hex'),
    link: link && Buffer.from(link).toString('hex'),
    xattrs: xattrs && Object.entries(xattrs).map(([k, v]) => [k, Buffer.from(v).toString('hex')]),
  };
}
