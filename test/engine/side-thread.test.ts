import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { assertAnswers } from '../../engine/answering.ts';
import { openSideThread, type SideThread } from '../../engine/side-thread.ts';
import { eventually } from '../support/eventually.ts';
import type { TestCalls } from './calls-thread.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'side-thread-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const script = new URL('./calls-thread.ts', import.meta.url);
const open = (silentMaxMs?: number): SideThread<TestCalls> =>
  openSideThread({ script, folder: dir, memory: { old: 64, young: 2 }, slow: ['writeSlowly'], silentMaxMs });

test('answers in order, and tells what a call failed of as that call would', async () => {
  const thread = open();
  const [written, read, refused] = await Promise.allSettled([
    thread.call('write', { dir, names: ['first'], ms: 0 }),
    thread.call('read', path.join(dir, 'absent')),
    thread.call('refuse', dir),
  ]);
  thread.close();
  expect(written).toEqual({ status: 'fulfilled', value: ['first'] });
  const absent = { code: 'ENOENT', syscall: 'open', path: path.join(dir, 'absent') };
  expect(read).toMatchObject({ status: 'rejected', reason: absent });
  const notEmpty = { type: 'TargetNotEmpty', message: `${dir} is not empty.`, next: 'Take another.' };
  expect(refused).toMatchObject({ status: 'rejected', reason: notEmpty });
  await expect(thread.call('read', dir)).rejects.toThrow('closed');
});

test('a call that does not return is given up; when it does after all, nothing more is done', async () => {
  const thread = open(1_000);
  const silent = { type: 'SourceUnreachable', message: expect.stringContaining(`${dir} does not answer`) };
  await expect(thread.call('write', { dir, names: ['late', 'later'], ms: 2_000 })).rejects.toMatchObject(silent);
  await expect(thread.call('read', dir)).rejects.toMatchObject(silent);
  expect(() => open()).toThrow('is asked nothing');
  await eventually(() => assertAnswers(dir));
  thread.close();
  expect(readdirSync(dir).sort()).toEqual(['first', 'late']);
});

test('work of many calls is waited for longer', async () => {
  const thread = open(300);
  const names = ['a', 'b', 'c'];
  expect(await thread.call('writeSlowly', { dir, names, ms: 300 })).toEqual(names);
  thread.close();
});
