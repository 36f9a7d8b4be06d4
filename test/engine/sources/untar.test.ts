import { describe, expect, test } from '@jest/globals';
import { endOfArchive, paddingOf, tarHeader } from '../../../engine/sources/files/tar.ts';
import { ByteReader, readTar, type TarMember } from '../../../engine/sources/postgres-physical/untar.ts';
import { entryOf, failureOf } from '../artifact/sealing.ts';

interface Read extends TarMember {
  content: string;
}

async function readAll(archive: Buffer, chunkBytes: number): Promise<Read[]> {
  async function* chunks() {
    for (let at = 0; at < archive.length; at += chunkBytes) yield archive.subarray(at, at + chunkBytes);
  }
  const reader = new ByteReader(chunks());
  const members: Read[] = [];
  for await (const member of readTar(reader)) {
    const content = Buffer.alloc(member.size);
    await reader.fill(content);
    members.push({ ...member, content: content.toString() });
  }
  return members;
}

const member = (name: string, content: string, more = {}) => {
  const entry = entryOf(name, { size: content.length, mtimeNs: '1700000000000000000', ...more });
  return Buffer.concat([tarHeader(entry), Buffer.from(content), Buffer.alloc(paddingOf(content.length))]);
};

describe("a server's archive", () => {
  const body = Buffer.concat([
    member('PG_VERSION', '18\n'),
    member('./pg_wal', '', { type: 'directory', mode: 0o700 }),
    member('pg_tblspc/16384', '', { type: 'symlink', link: Buffer.from('/srv/fast') }),
    member('base/1', 'x'.repeat(1500), { uid: 999, gid: 998, user: 'postgres', group: 'postgres', mode: 0o640 }),
    member('empty', ''),
  ]);
  const archive = Buffer.concat([body, endOfArchive(body.length)]);

  test.each([1, 511, 512, 513, 100_000])('is read in chunks of %d bytes as in any others', async (chunkBytes) => {
    expect(await readAll(archive, chunkBytes)).toMatchObject([
      { path: 'PG_VERSION', type: 'file', content: '18\n', mtime: 1_700_000_000 },
      { path: 'pg_wal', type: 'directory', mode: 0o700, size: 0 },
      { path: 'pg_tblspc/16384', type: 'symlink', link: '/srv/fast' },
      { path: 'base/1', content: 'x'.repeat(1500), uid: 999, gid: 998, user: 'postgres', mode: 0o640 },
      { path: 'empty', type: 'file', content: '' },
    ]);
  });

  test('is refused when it is cut off, damaged, or holds what a cluster does not', async () => {
    expect(await failureOf(readAll(archive.subarray(0, 3000), 512))).toMatchObject({ type: 'SourceFailed' });
    const damaged = Buffer.from(archive);
    damaged[3] = 0x41;
    expect((await failureOf(readAll(damaged, 512))).message).toContain('checksum');
    expect((await failureOf(readAll(member('f', '', { type: 'fifo' }), 512))).message).toContain('type "6"');
  });

  test('may hold files of 8 GiB and more, whose length is written in binary', async () => {
    const header = Buffer.from(member('big', ''));
    const size = 9 * 1024 ** 3;
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
    header.fill(' ', 148, 156);
    header.write(
      `${[...header]
        .reduce((a, b) => a + b, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    const members = readTar(
      new ByteReader(
        (async function* () {
          yield header;
        })(),
      ),
    );
    expect((await members.next()).value).toMatchObject({ path: 'big', size });
  });
});
