import { AsyncLocalStorage } from 'node:async_hooks';
import dns from 'node:dns';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Fault, SeenRequest } from '../support/s3-proxy.ts';
import { makeSmallDisk, type SmallDisk } from '../support/small-disk.ts';
import { openSmallJobs, type SmallJobs } from './every-call/small-job.ts';

/** Hard times that last, and pass: on a server whose clock jumps ahead while jobs wait to try again. */

let jobs: SmallJobs;
beforeAll(async () => {
  jobs = await openSmallJobs({ timeSkipping: true });
}, 120_000);
afterAll(() => jobs?.close(), 60_000);

const disks: SmallDisk[] = [];
async function smallDisk(bytes: number): Promise<SmallDisk> {
  const disk = await makeSmallDisk(bytes);
  disks.push(disk);
  return disk;
}
afterEach(async () => {
  for (const disk of disks.splice(0)) await disk.remove();
});

/**
 * Counts the attempts of steps, and does something when one begins. Nothing is sent ahead: the server's clock does not jump
 * while a step is under way, and that one would be until the point is sealed.
 */
function watching(onAttempt: (step: string, attempt: number) => unknown = () => {}) {
  const attempts = new Map<string, number>();
  return {
    attempts,
    around: async <T>(step: string, attempt: () => Promise<T>): Promise<T> => {
      if (step.startsWith('sendArtifact')) return null as T;
      const nth = (attempts.get(step) ?? 0) + 1;
      attempts.set(step, nth);
      await onAttempt(step, nth);
      return attempt();
    },
  };
}

const MiB = 1024 * 1024;
const succeeded = { result: { outcome: 'succeeded', warnings: [] }, problems: [] };

describe('a staging disk that is full', () => {
  test('fails the job in so many words, and nothing of it stays there', async () => {
    const disk = await smallDisk(MiB);
    const { attempts, around } = watching();
    const { result, failure, problems } = await jobs.run(null, { staging: disk.path, bytes: 3 * MiB, around });
    expect({ result, problems }).toEqual({ result: null, problems: [] });
    expect(failure).toMatch(/The disk is full/);
    expect(attempts.get('sealPoint')).toBeGreaterThan(1);
    expect(await filesIn(disk)).toEqual([]);
  }, 120_000);

  test('is gone on with once there is room', async () => {
    const disk = await smallDisk(MiB);
    const { around } = watching((step, nth) => (step === 'sealPoint' && nth === 4 ? disk.resize(16 * MiB) : null));
    expect(await jobs.run(null, { staging: disk.path, bytes: 3 * MiB, around })).toMatchObject(succeeded);
  }, 120_000);
});

describe('the disk of a copy that is full', () => {
  test('is gone on with once there is room', async () => {
    const disk = await smallDisk(MiB);
    const { attempts, around } = watching((step, nth) =>
      step === 'uploadCopy disk' && nth === 5 ? disk.resize(16 * MiB) : null,
    );
    expect(await jobs.run(null, { disk: disk.path, bytes: 3 * MiB, around })).toMatchObject(succeeded);
    expect(attempts.get('uploadCopy disk')).toBe(5);
  }, 120_000);

  test('fails that copy alone when its time is over, and nothing of it stays there', async () => {
    const disk = await smallDisk(MiB);
    const { result, problems } = await jobs.run(null, { disk: disk.path, bytes: 3 * MiB, deadline: '20m' });
    expect(problems).toEqual([]);
    expect(result).toMatchObject({
      outcome: 'partial',
      copies: [
        { copy: 'disk', state: 'failed', error: expect.any(String) },
        { copy: 'bucket', state: 'verified' },
      ],
    });
    expect((await filesIn(disk)).filter((file) => file.startsWith('.pending/') || !file.startsWith('.'))).toEqual([]);
  }, 120_000);
});

async function filesIn(disk: SmallDisk): Promise<string[]> {
  const entries = await readdir(disk.path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(disk.path, path.join(entry.parentPath, entry.name)));
}

/** For so long, by the server's clock, from the first time that it is asked for. */
async function lasting<T>(forMs: number, body: (isOn: () => boolean) => Promise<T>): Promise<T> {
  let now = await jobs.now();
  let until: number | null = null;
  let isOver = false;
  const watch = (async () => {
    while (!isOver) {
      now = await jobs.now();
      await setTimeout(20);
    }
  })();
  try {
    return await body(() => {
      until ??= now + forMs;
      return now < until;
    });
  } finally {
    isOver = true;
    await watch;
  }
}

describe('a bucket', () => {
  const troubles: [string, Fault][] = [
    ['that is away', 'cut'],
    ['that asks to slow down', { status: 503, code: 'SlowDown' }],
    ['that fails inside', { status: 500, code: 'InternalError' }],
  ];
  test.each(troubles)(
    '%s for minutes gets its copy all the same',
    async (_, fault) => {
      const { attempts, around } = watching();
      const ended = await lasting(180_000, (isOn) => {
        const meddle = (seen: SeenRequest) => (/^(Put|Get|Head)Object$/.test(seen.operation) && isOn() ? fault : null);
        return jobs.run(null, { meddle, around });
      });
      expect(ended).toMatchObject(succeeded);
      expect(attempts.get('uploadCopy bucket')).toBeGreaterThan(5);
    },
    120_000,
  );

  test('whose name does not resolve for minutes gets its copy once it does', async () => {
    const host = 'a-bucket-that-moves.invalid';
    const { lookup } = dns;
    const { attempts, around } = watching();
    const ended = await lasting(180_000, async (isOn) => {
      dns.lookup = ((name: string, ...rest: [never]) =>
        lookup(name === host && !isOn() ? '127.0.0.1' : name, ...rest)) as typeof dns.lookup;
      try {
        return await jobs.run(null, { host, around });
      } finally {
        dns.lookup = lookup;
      }
    });
    expect(ended).toMatchObject(succeeded);
    expect(attempts.get('uploadCopy bucket')).toBeGreaterThan(5);
  }, 120_000);
});

describe('a clock that jumps', () => {
  const shift = new AsyncLocalStorage<number>();
  const RealDate = globalThis.Date;
  beforeAll(() => {
    globalThis.Date = class extends RealDate {
      constructor(...given: [] | [number | string]) {
        super(...((given.length === 0 ? [ShiftedNow()] : given) as [number]));
      }
      static override now = ShiftedNow;
    } as DateConstructor;
  });
  afterAll(() => {
    globalThis.Date = RealDate;
  });
  function ShiftedNow(): number {
    return RealDate.now() + (shift.getStore() ?? 0);
  }
  const hour = 3_600_000;
  /** The clock of whoever does these steps is wrong. */
  const wrong = (ms: number, ...steps: string[]) => ({
    around: <T>(step: string, attempt: () => Promise<T>): Promise<T> =>
      steps.includes(step.split(' ')[0] ?? '') ? shift.run(ms, attempt) : attempt(),
  });

  test('ahead on the backup host fails the copies where it would be of the future, and says that it is the clock', async () => {
    const { result, failure, problems } = await jobs.run(null, wrong(24 * hour, 'sealPoint', 'signPoint'));
    expect({ result, problems }).toEqual({ result: null, problems: [] });
    expect(failure).toMatch(/captured at .* a clock is wrong/);
  }, 120_000);

  test('back on the backup host, or by minutes, does no harm', async () => {
    for (const ms of [-24 * hour, 10 * 60_000]) {
      expect(await jobs.run(null, wrong(ms, 'sealPoint', 'signPoint'))).toMatchObject(succeeded);
    }
  }, 120_000);

  const transfer = ['sendArtifact', 'uploadCopy', 'verifyCopy', 'publishCopy'];

  test('ahead on a transfer host does no harm: the bucket is asked what time it is', async () => {
    expect(await jobs.run(null, wrong(2 * hour, ...transfer))).toMatchObject(succeeded);
  }, 120_000);

  test('back on a transfer host fails the copy on its own disk, and says that it is the clock', async () => {
    const { result, problems } = await jobs.run(null, wrong(-2 * hour, ...transfer));
    expect(problems).toEqual([]);
    expect(result?.copies).toEqual([
      { copy: 'disk', state: 'failed', error: expect.stringMatching(/a clock is wrong/) },
      { copy: 'bucket', state: 'verified', error: null },
    ]);
  }, 120_000);
});
