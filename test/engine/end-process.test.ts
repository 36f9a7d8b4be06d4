import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from '@jest/globals';

const dir = mkdtempSync(path.join(tmpdir(), 'end-process-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const module = new URL('../../engine/end-process.ts', import.meta.url).href;

test('ends a process that has a thread in a call that never returns, with all that it said', () => {
  const pipe = path.join(dir, 'nobody-writes');
  execFileSync('mkfifo', [pipe]);
  const code = `
    import { readFile } from 'node:fs/promises';
    import { setTimeout } from 'node:timers/promises';
    import { endProcess } from ${JSON.stringify(module)};
    void readFile(${JSON.stringify(pipe)});
    await setTimeout(100);
    process.stdout.write('x'.repeat(1_000_000));
    await endProcess(7);
    process.stdout.write('more');`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    timeout: 60_000,
    killSignal: 'SIGKILL',
    maxBuffer: 2_000_000,
  });
  expect({ status, signal, length: stdout.length, stderr }).toEqual({
    status: 7,
    signal: null,
    length: 1_000_000,
    stderr: '',
  });
});

test('does not wait for a reader that has gone', () => {
  const code = `
    import { endProcess } from ${JSON.stringify(module)};
    process.stdout.write('x'.repeat(1_000_000));
    await endProcess(7);`;
  const script = `"$1" --input-type=module -e "$2" | true; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', process.execPath, code], { encoding: 'utf8' });
  expect({ stdout, stderr }).toEqual({ stdout: '7\n', stderr: '' });
});
