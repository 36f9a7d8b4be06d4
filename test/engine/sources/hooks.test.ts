import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { withHooks } from '../../../engine/sources/index.ts';
import { Failure } from '../../../policies/failure.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'hooks-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const signal = new AbortController().signal;
const sh = (script: string, ...args: string[]) => ['sh', '-c', script, 'hook', ...args];
const hooked = (hooks: { pre?: string[]; post?: string[]; timeout?: string }) => ({
  name: 'shop',
  hooks: { timeout: '1m', ...hooks },
});
const note = (file: string, word: string) => sh('echo "$2" >> "$1"', path.join(dir, file), word);
const notes = (file: string) => readFileSync(path.join(dir, file), 'utf8').trim().split('\n');

describe('hooks', () => {
  test('run before and after the source is read', async () => {
    const source = hooked({ pre: note('order', 'pre'), post: note('order', 'post') });
    const seen = await withHooks(source, signal, async () => notes('order').length);
    expect(seen).toBe(1);
    expect(notes('order')).toEqual(['pre', 'post']);
  });

  test('are given their arguments as they stand, by no shell', async () => {
    const word = '$(rm -rf x) "; `y` *';
    await withHooks(hooked({ pre: note('plain', word) }), signal, async () => {});
    expect(notes('plain')).toEqual([word]);
  });

  test('see where programs and their own files are, and no secret that the worker has in its environment', async () => {
    process.env.BACKUP_TEST_SECRET = 'hunter2';
    const file = path.join(dir, 'environment');
    try {
      await withHooks(hooked({ pre: sh('env > "$1"', file) }), signal, async () => {});
    } finally {
      delete process.env.BACKUP_TEST_SECRET;
    }
    const names = readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0]);
    expect(names).toContain('PATH');
    expect(
      names.filter(
        (name) => !/^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|PWD|OLDPWD|SHLVL|_|)$/.test(name ?? ''),
      ),
    ).toEqual([]);
  });

  test('stop the backup when the first one fails, with the end of what it said; the last one still runs', async () => {
    const source = hooked({ pre: sh('seq 10000; echo no lock >&2; exit 3'), post: note('failed', 'post') });
    let ran = false;
    const work = withHooks(source, signal, async () => {
      ran = true;
    });
    await expect(work).rejects.toMatchObject({
      type: 'HookFailed',
      message: 'The pre hook of shop (sh) ended with 3: no lock',
    });
    expect(ran).toBe(false);
    expect(notes('failed')).toEqual(['post']);
  });

  test('fail the backup when the last one fails', async () => {
    const work = withHooks(hooked({ post: sh('echo cannot thaw; exit 1') }), signal, async () => {});
    await expect(work).rejects.toMatchObject({ type: 'HookFailed', message: expect.stringContaining('cannot thaw') });
  });

  test('do not hide why the source failed', async () => {
    const failure = new Failure('SourceUnreadable', 'x cannot be read', { next: '' });
    const work = withHooks(hooked({ post: sh('exit 9') }), signal, () => Promise.reject(failure));
    await expect(work).rejects.toBe(failure);
    expect(failure.details.postHook).toContain('ended with 9');
  });

  test('that are not there are named', async () => {
    const work = withHooks(hooked({ pre: ['/no/such/program'] }), signal, async () => {});
    await expect(work).rejects.toMatchObject({
      type: 'HookFailed',
      message: expect.stringContaining('(/no/such/program) could not be started (ENOENT)'),
    });
  });

  test('that do not end are ended with all they started', async () => {
    const pidFile = path.join(dir, 'pid');
    const source = hooked({ pre: sh('sleep 600 & echo $! > "$1"; wait', pidFile), timeout: '1s' });
    const work = withHooks(source, signal, async () => {});
    await expect(work).rejects.toMatchObject({
      type: 'HookFailed',
      message: expect.stringContaining('did not end within 1s'),
    });
    // The kernel may take a moment to end it.
    while (isRunning(Number(readFileSync(pidFile, 'utf8')))) await setTimeout(20);
  });

  test('may start something that stays', async () => {
    const pidFile = path.join(dir, 'service');
    await withHooks(hooked({ pre: sh('sleep 600 & echo $! > "$1"', pidFile) }), signal, async () => {});
    const pid = Number(readFileSync(pidFile, 'utf8'));
    expect(isRunning(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  test('give way when the backup is aborted, and the last one still runs', async () => {
    const controller = new AbortController();
    const started = path.join(dir, 'started');
    const source = hooked({ pre: sh('touch "$1"; sleep 600', started), post: note('aborted', 'post') });
    const work = withHooks(source, controller.signal, async () => {});
    const watch = setInterval(() => existsSync(started) && controller.abort(), 10);
    await expect(work).rejects.toMatchObject({ name: 'AbortError' });
    clearInterval(watch);
    expect(notes('aborted')).toEqual(['post']);
  });
});

/** Neither gone nor a zombie that nobody has asked after. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
