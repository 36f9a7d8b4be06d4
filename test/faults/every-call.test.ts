import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Kind, Layer, Planned } from './every-call/faults.ts';
import { type Outcome, openSmallJobs, type SmallJobs } from './every-call/small-job.ts';

/**
 * One fault at every call that a small backup, and a restore of its point, make of its stores and its catalog, in turn, each
 * in a job of its own.
 */

let jobs: SmallJobs;
let calm: Outcome;
beforeAll(async () => {
  jobs = await openSmallJobs();
  calm = await jobs.run(null);
}, 120_000);
afterAll(() => jobs?.close(), 60_000);

/** So many jobs at once: most of the time they wait to try again. */
const atOnce = 12;

async function tryAll(layer: Layer, kinds: (call: string) => Kind[]): Promise<string[]> {
  const planned = calm.faults.calls[layer].flatMap((name, call): Planned[] =>
    kinds(name).map((kind) => ({ layer, call, kind })),
  );
  const wrong: string[] = [];
  const lanes = Array.from({ length: atOnce }, async () => {
    for (let next = planned.shift(); next; next = planned.shift()) {
      const { result, failure, problems, faults } = await jobs.run(next);
      const where = `${next.kind} at ${layer} call ${next.call} (${calm.faults.calls[layer][next.call]})`;
      if (faults.struck === null) wrong.push(`${where}: the call did not come`);
      // One fault is not the end of a backup.
      if (result?.outcome !== 'succeeded') wrong.push(`${where}: ${failure ?? JSON.stringify(result)}`);
      wrong.push(...problems.map((problem) => `${where}: ${problem}`));
    }
  });
  await Promise.all(lanes);
  return wrong;
}

describe('a backup comes to its point, which is restored, and nothing else is left,', () => {
  test('when nothing goes wrong', () => {
    expect(calm.problems).toEqual([]);
    expect(calm.result).toMatchObject({ outcome: 'succeeded' });
  });

  test('when nobody hears of any one step that is done, and it is done again', async () => {
    const heard = new Map<string, number>();
    const { result, failure, problems } = await jobs.run(null, {
      around: async (step, attempt) => {
        const answer = await attempt();
        const nth = (heard.get(step) ?? 0) + 1;
        heard.set(step, nth);
        // The worker is killed when it is through; to the job it is an attempt that came to nothing.
        if (nth === 1) throw new Error(`nobody heard of ${step}`);
        return answer;
      },
    });
    expect({ failure, problems }).toEqual({ failure: null, problems: [] });
    expect(result).toMatchObject({ outcome: 'succeeded' });
    expect([...heard].filter(([, attempts]) => attempts < 2)).toEqual([]);
    expect([...heard.keys()]).toEqual(
      expect.arrayContaining(['sealPoint', 'publishCopy bucket', 'restorePoint', 'keepRestore']),
    );
  }, 120_000);

  test('when the disk of a copy fails at any one call: before it, after it, or in the middle of the bytes, or hangs', async () => {
    expect(
      await tryAll('disk', (call) =>
        /^(put|get|list)/.test(call) ? ['error', 'lost reply', 'hang', 'partial'] : ['error', 'lost reply', 'hang'],
      ),
    ).toEqual([]);
  }, 600_000);

  test('when any one request to the bucket is cut, unanswered, answered in part, or refused for a while', async () => {
    expect(
      await tryAll('s3', (call) =>
        /^GetObject /.test(call)
          ? ['error', 'lost reply', 'hang', 'SlowDown', 'partial']
          : ['error', 'lost reply', 'hang', 'SlowDown'],
      ),
    ).toEqual([]);
  }, 600_000);

  test('when the catalog goes away or hangs at any one call, or its answer is lost', async () => {
    expect(await tryAll('catalog', () => ['cut', 'lost reply', 'hang'])).toEqual([]);
  }, 600_000);
});
