import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, expect, test } from '@jest/globals';
import { startProcess } from '../../scripts/stack/process.ts';
import { supervise } from '../../scripts/stack/supervise.ts';
import { processesNaming } from '../support/processes.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'supervise-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let serial = 0;
const restartDelayMs = 10;

/** A program that runs until it is ended. */
const startTail = (file: string) =>
  startProcess({
    name: 'The tail',
    program: 'tail',
    args: ['-f', '/dev/null', file],
    logFile: path.join(dir, `${++serial}.log`),
    failure: 'UsageInvalid',
    ready: async () => true,
  });

test('a program that is killed is started again, and ended for good when it is stopped', async () => {
  const file = path.join(dir, 'watched');
  const ends: string[] = [];
  const kept = await supervise({ start: () => startTail(file), onEnd: (how) => ends.push(how), restartDelayMs });
  const first = kept.current.pid;
  process.kill(first, 'SIGKILL');
  while (kept.current.pid === first) await setTimeout(20);
  expect(ends).toEqual(['was ended by SIGKILL']);
  await kept.stop();
  expect(processesNaming(file)).toEqual([]);
});

test('one that does not start again at once is tried until it does', async () => {
  const file = path.join(dir, 'reluctant');
  const ends: string[] = [];
  let starts = 0;
  const kept = await supervise({
    start: async () => {
      if (++starts === 2) throw new Error('the port is still taken');
      return startTail(file);
    },
    onEnd: (how) => ends.push(how),
    restartDelayMs,
  });
  process.kill(kept.current.pid, 'SIGKILL');
  while (starts < 3) await setTimeout(20);
  await kept.stop();
  expect(ends).toEqual(['was ended by SIGKILL', 'the port is still taken']);
  expect(processesNaming(file)).toEqual([]);
});

test('one that is stopped while it is being started again does not stay', async () => {
  const file = path.join(dir, 'late');
  let starts = 0;
  let go = () => {};
  const held = new Promise<void>((resolve) => {
    go = resolve;
  });
  const kept = await supervise({
    start: async () => {
      if (++starts === 2) await held;
      return startTail(file);
    },
    restartDelayMs,
  });
  process.kill(kept.current.pid, 'SIGKILL');
  while (starts < 2) await setTimeout(20);
  const stopped = kept.stop();
  go();
  await stopped;
  expect(starts).toBe(2);
  expect(processesNaming(file)).toEqual([]);
});

test('the first start that fails is the caller’s', async () => {
  await expect(supervise({ start: () => Promise.reject(new Error('no such program')) })).rejects.toThrow(
    'no such program',
  );
});
