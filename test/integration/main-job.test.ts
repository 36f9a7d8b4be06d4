import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { freePort } from '../../scripts/stack/process.ts';
import { processesNaming } from '../support/processes.ts';

/** `npm start` as a stranger runs it, on a folder of its own; each test goes on where the one before has ended. */

const root = path.join(import.meta.dirname, '..', '..');
const dataDir = mkdtempSync(path.join(tmpdir(), 'main-job-'));
let taken: { port: number; server: Server };
let portArgs: string[];

beforeAll(async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  taken = { port: (server.address() as { port: number }).port, server };
  const names = ['temporal', 'ui', 'postgres', 's3-east', 's3-east-ui', 's3-west'];
  const free = await Promise.all(names.map(async (name) => [`--port-${name}`, String(await freePort())]));
  portArgs = [...free.flat(), '--port-s3-west-ui', String(taken.port)];
});

afterAll(() => {
  taken.server.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const started: ChildProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    // A test that failed before it ended what it had started.
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('close', resolve));
  }
});

interface Run {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  ended: Promise<number | string>;
}

function start(...args: string[]): Run {
  const child = spawn(process.execPath, ['scripts/start.ts', '--data', dataDir, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => resolve(code ?? String(signal)));
  });
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

const progressLine =
  /^ {2}sample-(?:shop|cluster|files) +(?:plan|slot|seal|validate|upload|record|prune|notify|done) +💾 Backed Up: [\d.]+ [KMG]?i?B \| ✅ Validated: \d \| 🔄 Replicating: (?:waiting|\d\/3 copies verified)$/gm;

function expectWholeJob(output: string): void {
  const lines = output.match(progressLine) ?? [];
  for (const source of ['shop', 'cluster', 'files']) {
    expect(lines.findLast((line) => line.includes(`sample-${source}`))).toMatch(
      / done +💾 Backed Up: [\d.]+ MiB \| ✅ Validated: 5 \| 🔄 Replicating: 3\/3 copies verified$/,
    );
    expect(output).toMatch(
      new RegExp(
        `│ sample-${source}-\\d{8}t\\d{6}z-[0-9a-f]{8} +│ [\\d.]+ MiB → +│ ✓ server-disk +│ plan [\\d.]+ m?s +│ kept: 4 copies, +│`,
      ),
    );
    expect(output).toMatch(
      new RegExp(`✓ sample-${source} restored from s3-west \\(us-west-2\\): .* compared, no difference`),
    );
  }
  expect(output.match(/off-site us-west-2, +│/g)).toHaveLength(3);
  expect(output).toMatch(/^Temporal UI {3}http:\/\/127\.0\.0\.1:\d+$/m);
  expect(output).toMatch(/^S3 us-west-2 {2}http:\/\/127\.0\.0\.1:\d+ {3}console http:\/\/127\.0\.0\.1:\d+$/m);
}

/** The folders of a source's points on the backup server's disk. */
const onDisk = (source: string) =>
  readdirSync(path.join(dataDir, 'server-disk', source)).filter((name) => name !== 'wal');

describe('npm start', () => {
  test('backs up, validates, replicates, restores from the second region, compares, and ends with 0', async () => {
    const run = start('--once', ...portArgs);
    const code = await run.ended;
    expect([code, run.stderr()]).toEqual([0, '']);
    expectWholeJob(run.stdout());
    expect(run.stdout()).toContain('archiving WAL: sample-cluster');
    // The port that somebody else holds was replaced.
    expect(run.stdout()).not.toContain(`:${taken.port}`);
    expect(processesNaming(dataDir)).toEqual([]);
    // Nothing staged is left, but what the next incremental of a file tree compares with, and WAL on its way.
    const staging = path.join(dataDir, 'staging');
    const staged = readdirSync(staging).filter((d) => d !== '.references' && d !== '.wal');
    expect(staged.flatMap((d) => readdirSync(path.join(staging, d)))).toEqual([]);
  }, 300_000);

  test('finds everything in place when it is started again, serves, and ends every child at Ctrl-C', async () => {
    const run = start();
    const over = run.ended.then(() => true);
    while (!run.stdout().includes('Serving. Ctrl-C ends everything.')) {
      if (await Promise.race([over, setTimeout(200, false)])) break;
    }
    expect([run.stderr(), run.stdout()]).toEqual(['', expect.stringContaining('Serving. Ctrl-C ends everything.')]);
    expectWholeJob(run.stdout());
    const second = start('--once');
    expect(await second.ended).toBe(2);
    expect(second.stderr()).toContain(`The data folder ${dataDir} is in use by process ${run.child.pid}`);
    run.child.kill('SIGINT');
    expect([await run.ended, run.stderr()]).toEqual([0, '']);
    expect(processesNaming(dataDir)).toEqual([]);
    for (const source of ['shop', 'cluster', 'files']) expect(onDisk(`sample-${source}`)).toHaveLength(2);
  }, 300_000);

  test('ends with the code of what failed, and says which source it was and what to do', async () => {
    const policy = path.join(dataDir, 'own.yaml');
    writeFileSync(policy, `sources:\n  - name: docs\n    kind: files\n    path: ${dataDir}/nowhere\n`);
    const run = start('--once', '--policy', policy);
    expect(await run.ended).toBe(4);
    expect(run.stderr()).toContain(
      `✗ Backup of docs: The folder to back up does not exist: ${dataDir}/nowhere.\n  next: `,
    );
    expect(run.stdout()).toMatch(/^ {2}docs +failed +💾 Backed Up: 0 B/m);
    expect(processesNaming(dataDir)).toEqual([]);
  }, 300_000);

  test('refuses a policy that is wrong at its own line and column, before anything is backed up', async () => {
    const policy = path.join(dataDir, 'own.yaml');
    writeFileSync(policy, '# ours\nsources:\n  - name: docs\n    kind: fils\n    path: /srv\n');
    const run = start('--once', '--policy', policy);
    expect(await run.ended).toBe(2);
    expect(run.stderr()).toContain(`${policy}:4:5: sources[0].kind: expected one of`);
    expect(run.stderr()).toContain('did you mean "files"?');
    expect(processesNaming(dataDir)).toEqual([]);
  }, 300_000);
});
