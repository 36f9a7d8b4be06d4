import { spawn } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { openWidePipe } from '../../../engine/sources/postgres/wide-pipe.ts';

const MiB = 1024 * 1024;

/** What a shell prints by a pipe of ours. */
function printed(script: string) {
  const { writeEnd, content } = openWidePipe();
  const child = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', writeEnd, 'ignore'] });
  closeSync(writeEnd);
  return { child, content };
}

test('what a program prints a little at a time comes in chunks of one MiB, each in its own memory', async () => {
  const { content } = printed('dd if=/dev/zero bs=4096 count=700 status=none; printf end');
  const chunks: Buffer[] = [];
  for await (const chunk of content as AsyncIterable<Buffer>) {
    // A machine that is busy may let a chunk go early, never late.
    if (chunk.length === MiB) expect(chunk.buffer.byteLength).toBe(MiB);
    chunks.push(chunk);
  }
  const all = Buffer.concat(chunks);
  expect(all.length).toBe(700 * 4096 + 3);
  expect(all.subarray(-3).toString()).toBe('end');
  expect(all.subarray(0, -3).every((byte) => byte === 0)).toBe(true);
});

test('what comes slowly is not kept back until there is more', async () => {
  const { child, content } = printed('printf now; read never_comes <&1');
  const [first] = await content.take(1).toArray();
  expect(String(first)).toBe('now');
  child.kill('SIGKILL');
});

test('a program that prints nothing gives nothing', async () => {
  expect(await buffer(printed(':').content)).toHaveLength(0);
});

test.each([
  ['before anything was read', async () => {}],
  ['while nothing comes', () => setTimeout(20)],
])('nothing stays open when it is given up %s', async (_when, wait) => {
  const { child, content } = printed('exec sleep 60');
  const opened = openNow();
  content.once('data', () => {});
  await wait();
  const closed = new Promise((resolve) => content.once('close', resolve));
  content.destroy();
  await closed;
  expect(opened.filter((fd) => !openNow().includes(fd)).length).toBeGreaterThan(0);
  child.kill('SIGKILL');
});

test('a reader that is gone ends the program that prints for it', async () => {
  const { child, content } = printed('exec yes');
  content.destroy();
  expect(await new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)))).toBe('SIGPIPE');
});

/** The pipes that this process holds open. */
function openNow(): number[] {
  return Array.from({ length: 256 }, (_, fd) => fd).filter((fd) => {
    try {
      return fstatSync(fd).isFIFO();
    } catch {
      return false;
    }
  });
}
