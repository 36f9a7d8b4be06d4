import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect, test } from '@jest/globals';
import { assertAnswers, limitSilence } from '../../../engine/answering.ts';
import { acquireFramePool, keepFrameThreads } from '../../../engine/artifact/frame-pool.ts';
import { niceness } from '../../../engine/thread-priority.ts';
import { eventually } from '../../support/eventually.ts';
import { noise } from './sealing.ts';

test('a file with holes has all of its length from its first block on, so that no thread cuts off what another wrote', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'frame-pool-'));
  const file = path.join(dir, 'sparse');
  const pool = acquireFramePool();
  const content = noise(8192);
  const write = (fileOffset: number, bytes: Buffer) =>
    pool.unpack({
      compressed: new Uint8Array(zstdCompressSync(bytes, { pledgedSrcSize: bytes.length })),
      blocks: [
        {
          offset: 0,
          bytes: bytes.length,
          sha256: null,
          target: { path: Buffer.from(file), fileOffset, sparse: 300_000 },
        },
      ],
      wantContent: false,
    });
  try {
    await write(0, Buffer.alloc(8192));
    expect(statSync(file)).toMatchObject({ size: 300_000, blocks: 0 });
    await write(100_000, content);
    await write(8192, Buffer.alloc(8192));
    const found = readFileSync(file);
    expect(found.length).toBe(300_000);
    expect(found.subarray(100_000, 108_192).equals(content)).toBe(true);
  } finally {
    await pool.release();
    rmSync(dir, { recursive: true });
  }
});

/** Small jobs, so many at once, by a user who lets go at once. */
async function packSmall(jobs: number): Promise<void> {
  const pool = acquireFramePool();
  const pack = () => pool.pack({ pieces: [{ kind: 'bytes', bytes: Buffer.alloc(100), hash: false }] });
  for (const { contentBytes } of await Promise.all(Array.from({ length: jobs }, pack))) expect(contentBytes).toBe(100);
  await pool.release();
}

/** As reading WAL does it: a pool for each small read. A thread that is ended while it starts would take the process along. */
test('threads end well that were hardly begun, time and again', async () => {
  for (let i = 0; i < 8; i++) await packSmall(1 + (i % 3));
});

/** The threads of this process that run JavaScript, without its first. */
const workers = () =>
  readdirSync('/proc/self/task').filter(
    (thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'latin1') === 'WorkerThread\n',
  );

test('threads are begun as they are needed, and kept for the next user for as long as is wanted', async () => {
  keepFrameThreads(600_000);
  try {
    await packSmall(1);
    const kept = workers();
    expect(kept).toHaveLength(1);
    await packSmall(1);
    expect(workers()).toEqual(kept);
    await packSmall(9);
    expect(workers()).toHaveLength(Math.min(4, availableParallelism()));
    // Those that have done much do not wait.
    await packSmall(100);
    expect(workers()).toEqual([]);
    // Those that wait for nobody end by themselves.
    keepFrameThreads(1);
    await packSmall(1);
    await eventually(() => expect(workers()).toEqual([]));
  } finally {
    keepFrameThreads(0);
    await packSmall(1);
  }
  expect(workers()).toEqual([]);
});

/** By proc(5), stat: the seventeenth field after the name of the command. */
const nicenessOf = (thread: string) =>
  Number(readFileSync(`/proc/self/task/${thread}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[16]);

test('the threads stand back behind the one that sends heartbeats', async () => {
  const before = new Set(readdirSync('/proc/self/task'));
  const own = nicenessOf(String(process.pid));
  const pool = acquireFramePool();
  try {
    await pool.pack({ pieces: [{ kind: 'bytes', bytes: Buffer.alloc(100), hash: false }] });
    const others = readdirSync('/proc/self/task').filter((thread) => !before.has(thread));
    expect(others.map(nicenessOf)).toContain(Math.max(own, niceness));
    expect(nicenessOf(String(process.pid))).toBe(own);
  } finally {
    await pool.release();
  }
});

test('a thread that hangs loses the job it is at, and what was handed over to it; its other jobs go to the next thread', async () => {
  limitSilence(2_000);
  const dir = mkdtempSync(path.join(tmpdir(), 'frame-pool-'));
  const file = path.join(dir, 'file');
  writeFileSync(file, 'a line');
  const pipe = path.join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const pool = acquireFramePool();
  const identity = { size: 6, mtimeNs: '0', ctimeNs: '0', dev: '0', ino: '0' };
  const read = (from: string) =>
    pool.pack({ pieces: [{ kind: 'file', path: Buffer.from(from), offset: 0, bytes: 6, expect: identity }] });
  const bytes = () => pool.pack({ pieces: [{ kind: 'bytes', bytes: Buffer.alloc(1_000_000), hash: false }] });
  try {
    // Whoever opens a pipe to read from it waits for somebody to write. Each thread has one, and as many jobs behind them.
    const hanging = Array.from({ length: pool.threads }, () => read(pipe));
    const behind = Array.from({ length: pool.threads }, (_, i) => (i % 2 === 0 ? read(file) : bytes()));
    const later = [read(file), bytes()];
    const ends = await Promise.allSettled([...hanging, ...behind, ...later]);
    const told = ends.map((end) => (end.status === 'fulfilled' ? end.value.contentBytes : end.reason.type));
    const lost = 'SourceUnreachable';
    expect(told).toEqual([...hanging.map(() => lost), ...behind.map((_, i) => (i % 2 === 0 ? 6 : lost)), 6, 1_000_000]);
  } finally {
    for (let i = 0; i < pool.threads; i++) closeSync(openSync(pipe, constants.O_RDWR));
    await eventually(() => assertAnswers(dir));
    await pool.release();
    rmSync(dir, { recursive: true });
  }
});
