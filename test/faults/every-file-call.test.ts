import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { seededRandom } from '../policies/random.ts';
// What is imported after this has its calls to the file system wrapped.
import { fileFaults, type Kind, type Planned } from './every-file-call/file-faults.ts';
import type { FileJobs, Outcome } from './every-file-call/file-job.ts';

/**
 * One fault at every kind of call to the file system that a small backup into two folders, and a restore of its point, make
 * in every place: tree, staging disk, folder of a copy, folder restored into; in this thread and in those that read,
 * compress and write. Where a kind of call comes several times, chance picks one; with EVERY_CALL=all, each has its turn.
 */

const seed = 20261125;
const all = process.env.EVERY_CALL === 'all';
let jobs: FileJobs;
let calm: Outcome;
beforeAll(async () => {
  const { openFileJobs } = await import('./every-file-call/file-job.ts');
  jobs = await openFileJobs(fileFaults);
  calm = await jobs.run(null);
}, 60_000);
afterAll(async () => {
  await jobs?.close();
  fileFaults.remove();
});

/** What may go wrong at a call. A file that does not close is closed all the same. */
function kindsOf(call: string): Kind[] {
  return isOutside(call) ? [...failuresOf(call), 'hangs'] : failuresOf(call);
}

/** To what may lie on anything that is mounted: made by threads that may be lost. */
const isOutside = (call: string) => /^thread: .* (tree|restored)$/.test(call);

function failuresOf(call: string): Kind[] {
  if (/close/i.test(call)) return ['done, then EIO'];
  if (/\b(read|readSync|write|writev|writeSync) /.test(call)) return ['EIO', 'half'];
  if (/writeFile/.test(call)) return ['EIO', 'half, then ENOSPC', 'done, then EIO'];
  return /mkdir|rename|link|rm|sync|chmod|chown|truncate/i.test(call) ? ['EIO', 'done, then EIO'] : ['EIO'];
}

function plan(): Planned[] {
  const random = seededRandom(seed);
  const counts = new Map<string, number>();
  for (const call of calm.calls) counts.set(call, (counts.get(call) ?? 0) + 1);
  // By name: which thread comes first is nobody's to say.
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([call, count]) =>
      kindsOf(call).flatMap((kind) => {
        const chosen = random.below(count);
        const turns = all ? Array.from({ length: count }, (_, nth) => nth) : [chosen];
        return turns.map((nth) => ({ call, nth, kind }));
      }),
    );
}

test('nothing goes wrong where nothing fails', () => {
  expect(calm).toMatchObject({ failures: [], problems: [] });
  // The main thread of a worker never waits for what is backed up, nor for what is restored into; but that it asks whether
  // that answers, by a call that it does not wait for.
  const main = calm.calls.filter((call) => / (tree|restored)$/.test(call) && !isOutside(call));
  expect([...new Set(main)]).toEqual(['stat restored']);
});

test('whatever call fails: it is told with place and reason, nothing half done is left, and the next attempt or job comes to its end', async () => {
  const wrong: string[] = [];
  for (const planned of plan()) {
    const { problems, isStruck } = await jobs.run(planned);
    const where = `${planned.kind} at ${planned.call} ${planned.nth}`;
    if (!isStruck) wrong.push(`${where}: the call did not come`);
    wrong.push(...problems.map((problem) => `${where}: ${problem}`));
  }
  expect(wrong).toEqual([]);
}, 1_800_000);
