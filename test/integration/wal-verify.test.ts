import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyWal } from '../../engine/sources/wal/verify.ts';
import { backupctl } from '../client/terminal.ts';
import { type Cluster, makeCluster, usePostgresBinDirs } from './source-physical-fixture.ts';
import { makeWalPlace, startArchive, verified, type WalPlace } from './wal-fixture.ts';

const binDirs = await usePostgresBinDirs();

describe('an archive that is not whole', () => {
  let cluster: Cluster;
  let wal: WalPlace;
  beforeAll(async () => {
    cluster = await makeCluster(binDirs[15]);
    wal = await makeWalPlace(path.join(cluster.dir, 'archive'));
    const running = await startArchive(wal, { port: cluster.server.port, bundleBytes: 2 * 1024 * 1024 });
    await cluster.sql(
      'postgres',
      'SELECT pg_logical_emit_message(true, $$x$$, repeat(md5(random()::text), 30000)) FROM generate_series(1, 10)',
    );
    await running.caughtUp((statement) => cluster.sql('postgres', statement));
    await running.stop();
  });
  afterAll(() => cluster.remove());

  /** Does something to the file of a range, looks, and puts it back. */
  async function changed(which: number, change: (file: string, bytes: Buffer) => void, identity?: string) {
    const range = (await wal.contents()).ranges[which];
    const file = path.join(wal.root, range?.key ?? '');
    const bytes = readFileSync(file);
    change(file, Buffer.from(bytes));
    try {
      return { range, report: await verified(wal, identity) };
    } finally {
      writeFileSync(file, bytes);
    }
  }

  test('is found out: a range that is missing is a gap, named by its positions', async () => {
    const { range, report } = await changed(1, (file) => rmSync(file));
    expect(report.gaps).toEqual([{ timeline: 1, from: range?.start, to: range?.end }]);
    expect(report.problems).toEqual([]);
  });

  test.each([
    [
      'a byte of its ciphertext',
      (bytes: Buffer) => bytes.writeUInt8((bytes.at(-100) ?? 0) ^ 1, bytes.length - 100),
      /SHA-256|not what was sealed/,
    ],
    [
      'its signed line',
      (bytes: Buffer) => bytes.write('"serverMajor":14', bytes.indexOf('"serverMajor":15')),
      /changed after it was signed/,
    ],
  ])('is found out: changed is %s', async (_what, change, said) => {
    const { range, report } = await changed(
      1,
      (file, bytes) => {
        change(bytes);
        writeFileSync(file, bytes);
      },
      wal.identity,
    );
    expect(report.problems).toEqual([expect.stringMatching(said)]);
    expect(report.problems[0]).toContain(range?.key);
    expect(report.gaps).toHaveLength(1);
  });

  test('is found out: cut off, without the key to it', async () => {
    const { report } = await changed(1, (file, bytes) => writeFileSync(file, bytes.subarray(0, -1)));
    expect(report.problems).toEqual([expect.stringMatching(/has \d+ bytes instead of \d+/)]);
  });

  test('is found out: what somebody else signed, or laid under another name', async () => {
    const untrusted = await verifyWal({ store: wal.store, source: 'cluster', trusted: [] });
    expect(untrusted.problems[0]).toContain('not trusted');
    const [first, second] = (await wal.contents()).ranges;
    const copy = path.join(wal.root, (second?.key ?? '').replace(/-[0-9a-f]{8}\.wal$/, '-00000000.wal'));
    writeFileSync(copy, readFileSync(path.join(wal.root, first?.key ?? '')));
    const { problems } = await verified(wal);
    rmSync(copy);
    expect(problems).toEqual([expect.stringMatching(/00000000\.wal is damaged: it is that of cluster/)]);
    const stranger = path.join(wal.root, 'cluster', 'wal', 'notes.txt');
    writeFileSync(stranger, 'x');
    expect((await verified(wal)).problems).toEqual(['cluster/wal/notes.txt does not belong there']);
    rmSync(stranger);
  });
});

describe('backupctl wal verify', () => {
  let cluster: Cluster;
  let wal: WalPlace;
  let policyFile: string;
  beforeAll(async () => {
    cluster = await makeCluster(binDirs[15]);
    wal = await makeWalPlace(path.join(cluster.dir, 'copy'));
    const running = await startArchive(wal, { port: cluster.server.port, bundleBytes: 1024 * 1024 });
    await running.caughtUp((statement) => cluster.sql('postgres', statement));
    await running.stop();
    policyFile = path.join(cluster.dir, 'policy.yaml');
    const policy = {
      version: 1,
      site: { region: 'here' },
      catalog: { dsn: 'env:DSN' },
      keys: {
        recipients: [wal.recipient],
        signing: 'env:SIGNING',
        trusted: wal.trusted,
        identity: `file:${policyFile}.identity`,
      },
      staging: { path: path.join(cluster.dir, 'staging') },
      sources: [
        { name: 'cluster', kind: 'postgres-physical', connection: { host: 'x', user: 'x' } },
        { name: 'docs', kind: 'files', path: '/srv/docs' },
      ],
      copies: [{ name: 'shelf', kind: 'directory', region: 'there', path: wal.root }],
    };
    writeFileSync(policyFile, JSON.stringify(policy));
    writeFileSync(`${policyFile}.identity`, wal.identity, { mode: 0o600 });
  });
  afterAll(() => cluster.remove());
  const ask = (...args: string[]) => backupctl(['wal', 'verify', ...args, '--policy', policyFile]);

  test('shows how far the WAL reaches, and ends well when nothing is missing', async () => {
    const { exitCode, stdout } = await ask('cluster', '--read');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/✓ shelf: \d+ ranges, .*\n +timeline 1 +0\/1000000 to 0\/[0-9A-F]+, until 20/);
    const { stdout: json } = await ask('cluster', '--json');
    expect(JSON.parse(json)).toMatchObject({
      source: 'cluster',
      verified: [{ copy: 'shelf', gaps: [], problems: [] }],
    });
  });

  test('ends with 6 and names what is missing', async () => {
    const file = path.join(wal.root, (await wal.contents()).ranges[1]?.key ?? '');
    const bytes = readFileSync(file);
    rmSync(file);
    const { exitCode, stdout } = await ask('cluster');
    writeFileSync(file, bytes);
    expect(exitCode).toBe(6);
    expect(stdout).toMatch(/✗ shelf[\s\S]*missing: 0\/[0-9A-F]+ to 0\/[0-9A-F]+ of timeline 1/);
  });

  test('is for clusters', async () => {
    const { exitCode, stderr } = await ask('docs');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('postgres-physical');
  });
});
