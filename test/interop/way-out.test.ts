import { lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PointReader } from '../../engine/artifact/index.ts';
import { setMtime } from '../../engine/file-times.ts';
import { compareTree } from '../../engine/sources/files/compare.ts';
import { createFilesSource, createPostgresLogicalSource } from '../../engine/sources/index.ts';
import { filesSource, postgresLogicalSource } from '../../policies/policy.ts';
import { findTool, pythonVenv } from '../../scripts/stack/find.ts';
import { findNode } from '../../scripts/stack/node-versions.ts';
import { read } from '../engine/artifact/sealing.ts';
import { type SealedSource, sealSource } from '../engine/sources/conformance.ts';
import { makeNastyTree, makeRootsTree } from '../engine/sources/nasty-tree.ts';
import { makeDatabase, services, type TestDatabase } from '../support/services.ts';
import { makeShelf, run, type Shelf } from './way-out-fixture.ts';

/** restore.mjs, from the folder that it lies in, on every Node.js that it promises to run on. */

const signal = new AbortController().signal;
const isRoot = process.getuid?.() === 0;

let shelf: Shelf;
let tree: SealedSource;
let dump: SealedSource;
let folderDump: SealedSource;
let database: TestDatabase;
beforeAll(async () => {
  shelf = await makeShelf();
  const root = shelf.fresh('tree');
  makeNastyTree(root);
  if (isRoot) makeRootsTree(root);
  tree = await sealSource(
    shelf.place,
    createFilesSource(filesSource.parse({ name: 'docs', kind: 'files', path: root })),
  );
  database = await makeDatabase();
  await withRows();
  dump = await sealSource(shelf.place, await sourceOf('custom'));
  folderDump = await sealSource(shelf.place, await sourceOf('directory'));
  for (const { point } of [tree, dump, folderDump]) shelf.publish(point);
}, 300_000);
afterAll(async () => {
  await database?.drop();
  await shelf.remove();
});

async function server(): Promise<NodeJS.ProcessEnv> {
  const { postgres } = await services();
  const { host, port, user, password, binDir } = postgres;
  const PATH = `${binDir}:${process.env.PATH}`;
  return { ...process.env, PATH, PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password };
}

async function psql(name: string, statement: string): Promise<string> {
  const { code, stdout, stderr } = await run(['psql', '-d', name, '-Atc', statement], { env: await server() });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

const rows = (name: string) => psql(name, 'SELECT count(*), md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM shop t');

async function withRows(): Promise<void> {
  const filled = `CREATE TABLE shop AS SELECT i AS id, md5(i::text) || repeat('x', i % 50) AS name FROM generate_series(1, 20000) i`;
  await run(['psql', '-d', database.name, '-c', filled], { env: await server() });
}

async function sourceOf(format: 'custom' | 'directory') {
  const { postgres } = await services();
  const { host, port, user, password } = postgres;
  const connection = { host, port, user, database: database.name, password: 'env:IGNORED' };
  const policy = { name: `shop-${format}`, kind: 'postgres-logical', connection, format };
  return createPostgresLogicalSource(postgresLogicalSource.parse(policy), { resolveSecret: async () => password });
}

/** Times are restored to the microsecond; then they are made exact, so that all else can be compared. */
async function compareTimes(reader: PointReader, into: string): Promise<void> {
  for await (const { path: relative, mtimeNs } of reader.entries()) {
    const file = relative.length === 0 ? Buffer.from(into) : Buffer.concat([Buffer.from(`${into}/`), relative]);
    const found = lstatSync(file, { bigint: true }).mtimeNs;
    const off = found - BigInt(mtimeNs);
    expect(off < 2_000n && off > -2_000n ? '' : `${Buffer.from(relative)}: ${found}, not ${mtimeNs}`).toBe('');
    setMtime(file, mtimeNs);
  }
}

describe.each(['20.0.0', '22.23.3', process.versions.node])('on Node.js %s, the script', (version) => {
  let node: string;
  beforeAll(async () => {
    node = version === process.versions.node ? process.execPath : await findNode(version);
  }, 300_000);
  const script = (...args: string[]) => run([node, shelf.scriptFile, ...args]);

  test('runs on that very version, whose own zstd it uses where there is one', async () => {
    const { stdout } = await run([node, '-p', 'process.version + " " + typeof require("zlib").zstdDecompressSync']);
    expect(stdout.trim()).toBe(`v${version} ${version.startsWith('20.') ? 'undefined' : 'function'}`);
  });

  test('lists the points that are there, without any key', async () => {
    const { code, stdout, stderr } = await script('list', shelf.store);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const { point } of [tree, dump, folderDump]) {
      const { id, content, capturedAt } = point;
      const line = stdout.split('\n').find((l) => l.startsWith(`${id} `));
      expect(line).toContain(capturedAt);
      expect(line).toContain(` ${content.entries} `);
      expect(line).toContain(shelf.trusted);
    }
  });

  test('verifies every point', async () => {
    const { code, stdout, stderr } = await script('verify', shelf.store, ...shelf.keys);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.match(/ is good: /g)).toHaveLength(3);
  });

  test('restores a tree: names, bytes, modes, owners, times, links, holes, devices and attributes', async () => {
    const into = shelf.fresh('restored');
    const { code, stderr } = await script('restore', shelf.store, tree.point.id, '--into', into, ...shelf.keys);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    await compareTimes(tree.reader, into);
    const compared = await compareTree(tree.reader, into, signal);
    expect(compared.examples).toEqual([]);
    expect(compared.sparse.found).toBe(compared.sparse.captured);
  });

  test('writes out the parts of a database dump, byte for byte', async () => {
    const into = shelf.fresh('dump');
    const { code, stdout, stderr } = await script(
      'restore',
      shelf.store,
      'shop-custom/latest',
      '--into',
      into,
      ...shelf.keys,
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(
      `pg_restore --exit-on-error --single-transaction --no-tablespaces --dbname=${database.name} `,
    );
    expect(readdirSync(into).sort()).toEqual(['database.dump', 'globals.sql']);
    for (const name of readdirSync(into)) {
      const expected = await read(dump.reader.content(name));
      expect(readFileSync(path.join(into, name)).equals(expected)).toBe(true);
    }
  });

  test('writes one part to standard output', async () => {
    const { code, stdout } = await script('cat', shelf.store, dump.point.id, 'globals.sql', ...shelf.keys);
    expect(code).toBe(0);
    expect(stdout).toBe((await read(dump.reader.content('globals.sql'))).toString());
  });
});

describe('the commands that it prints', () => {
  test.each(['shop-custom', 'shop-directory'])('bring the database of %s back', async (source) => {
    const before = await rows(database.name);
    const into = shelf.fresh('commands');
    const args = ['restore', shelf.store, `${source}/latest`, '--into', into, ...shelf.keys];
    const { stdout } = await run([process.execPath, shelf.scriptFile, ...args]);
    const commands = stdout.split('\n').flatMap((line) => (line.startsWith('  ') ? [line.trim()] : []));
    expect(commands.length).toBeGreaterThan(4);
    // Elsewhere than where it came from, which is still there.
    const name = `${database.name}_${source.slice(5)}`;
    const env = await server();
    for (const command of commands.map((c) => c.replaceAll(database.name, name))) {
      const { code, stderr } = await run(['sh', '-c', command], { env });
      expect(`${command}: ${code} ${code === 0 ? '' : stderr}`).toBe(`${command}: 0 `);
    }
    expect(await rows(name)).toBe(before);
    await psql('postgres', `DROP DATABASE ${name}`);
  });
});

describe('the page beside it', () => {
  /** The lines of the page that begin with a command, as somebody would type them. */
  const commandsOf = (page: string) => page.split('\n').flatMap((line) => (/^ {4}\S/.test(line) ? [line.trim()] : []));

  test('shows commands that do what it says', async () => {
    const page = readFileSync(shelf.page, 'utf8');
    const known = { store: shelf.store, POINT: tree.point.id, 'identity.txt': shelf.identityFile, KEY: shelf.trusted };
    // That for WAL is run where there is some: way-out-wal.test.ts.
    const isOurs = (line: string) => /^(sha256sum|node) /.test(line) && !line.includes('|') && !line.includes(' wal ');
    const commands = commandsOf(page).filter(isOurs);
    expect(commands).toHaveLength(4);
    for (const command of commands) {
      const words = command.split(' ').map((word) => (word in known ? known[word as keyof typeof known] : word));
      const argv = words.map((word) =>
        word === 'node' ? process.execPath : word === 'FOLDER' ? shelf.fresh('by page') : word,
      );
      const { code, stderr } = await run(argv, { cwd: shelf.store });
      expect(`${command}: ${code} ${stderr}`).toBe(`${command}: 0 `);
    }
  });

  test('opens an artifact by hand: with age, a page of Python, zstd and tar', async () => {
    const page = readFileSync(shelf.page, 'utf8');
    const here = shelf.fresh('by hand');
    mkdirSync(path.join(here, 'FOLDER'), { recursive: true });
    writeFileSync(path.join(here, 'open.py'), /```python\n(.*?)```/s.exec(page)?.[1] ?? '');
    const venv = await pythonVenv(path.join(import.meta.dirname, 'requirements.txt'));
    const PATH = [path.join(venv, 'bin'), path.dirname(await findTool('age')), process.env.PATH].join(':');
    const known = { 'identity.txt': shelf.identityFile, 'SOURCE/ID': path.join(shelf.store, 'docs', tree.point.id) };
    for (const line of commandsOf(page).filter((l) => /^(age|python3) /.test(l))) {
      let command = `set -o pipefail; ${line}`;
      for (const [name, value] of Object.entries(known)) command = command.replaceAll(name, `'${value}'`);
      command = command.replaceAll(' ID/', ` ${tree.point.id}/`);
      const { code, stderr } = await run(['bash', '-c', command], { cwd: here, env: { ...process.env, PATH } });
      // GNU tar does not know POSIX's hdrcharset, and finds 1969 implausible.
      expect({ line, code, stderr: stderr.replaceAll(/^tar: (Ignoring unknown|.*implausibly old).*\n/gm, '') }).toEqual(
        {
          line,
          code: 0,
          stderr: '',
        },
      );
    }
    const { examples } = await compareTree(tree.reader, path.join(here, 'FOLDER'), signal);
    // Attributes need options of tar; all else is there.
    expect(examples.filter((d) => !/extended attributes/.test(d))).toEqual([]);
  });
});
