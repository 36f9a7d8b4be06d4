import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { assertExpected } from '../../engine/giving-up.ts';
import { serveCalls } from '../../engine/side-thread-work.ts';
import { Failure } from '../../policies/failure.ts';

/** What the side thread of a test can do. */

interface Writing {
  dir: string;
  names: string[];
  /** Stands still so long after each. */
  ms: number;
}

function write({ dir, names, ms }: Writing): string[] {
  for (const name of names) {
    assertExpected();
    writeFileSync(path.join(dir, name), '');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  }
  return names;
}

const calls = {
  write,
  writeSlowly: write,
  read: (file: string): string => readFileSync(file, 'utf8'),
  refuse(what: string): void {
    throw new Failure('TargetNotEmpty', `${what} is not empty.`, { next: 'Take another.' });
  },
};
export type TestCalls = typeof calls;

serveCalls(calls);
