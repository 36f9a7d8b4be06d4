import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { CancelledFailure } from '@temporalio/common';
import type { StreamWalInput, StreamWalOutcome } from '../../activities/wal-host.ts';
import type { WalFinding } from '../../activities/wal-watch.ts';
import type { WalArchiveInput, WalArchiveStatus } from '../../workflows/contracts.ts';
import { eventually } from '../support/eventually.ts';
import { stage, steps } from './open-stage.ts';
import { causes } from './stage.ts';
import { failure, untilCancelled } from './stand-ins.ts';

let running: WorkflowHandle[];

beforeEach(() => {
  running = [];
});
afterEach(async () => {
  // One that ended by itself is what its test is about.
  for (const handle of running) await handle.terminate().catch(() => {});
});

async function start(input: Partial<WalArchiveInput> = {}): Promise<WorkflowHandle> {
  const handle = await stage.start('walArchive', { source: 'shop', patienceMs: 0, ...input });
  running.push(handle);
  return handle;
}

const inputsOf = <T>(step: string) => steps.inputs.filter((i) => i.step === step).map((i) => i.input as T);
const findings = () => inputsOf<{ findings: WalFinding[] }>('noteWal').flatMap((n) => n.findings);
const problemOf = (about: WalFinding['about']) => findings().findLast((f) => f.about === about)?.problem;

/** One outcome or error after the other; then it streams until it is cancelled. */
function streams(...rounds: (StreamWalOutcome['state'] | Error)[]): void {
  const forEver = untilCancelled(() => {});
  steps.on('streamWal', () => {
    const next = rounds.shift();
    if (next === undefined) return forEver();
    if (next instanceof Error) throw next;
    return { state: next, keptBytes: 20_000_000_000 };
  });
}

const attempts = (n: number) => eventually(() => expect(steps.attempts('streamWal')).toBe(n));

describe('archiving WAL', () => {
  test('goes on from what the copies have, and is well once something was sealed', async () => {
    const archived = { timeline: 2, end: '0/5000000', until: '2026-01-01T00:00:00Z', histories: [2] };
    steps.on('findArchived', () => ({ archived, gaps: [] }));
    streams('well');
    const handle = await start();
    await attempts(2);
    expect(inputsOf<StreamWalInput>('streamWal')).toMatchObject([
      { source: 'shop', archived, anew: false, known: 'failing' },
      { known: 'well' },
    ]);
    await eventually(() => expect(problemOf('archiving')).toBeNull());
    expect(await handle.query<WalArchiveStatus>('status')).toEqual({
      source: 'shop',
      streaming: 'well',
      error: null,
      copies: [],
    });
  });

  test('goes on where no copy answers: the slot and the staging disk know', async () => {
    steps.on('findArchived', () => {
      throw failure('StoreUnreachable', 'east does not answer.', true);
    });
    await start();
    await attempts(1);
    expect(inputsOf<StreamWalInput>('streamWal')).toMatchObject([{ archived: null, anew: false }]);
  });

  test('that fails is tried again for ever, and told; when it is well again, that is told too', async () => {
    const down = failure('SourceUnreachable', 'PostgreSQL does not answer.', true);
    streams(down, down, 'well');
    const handle = await start();
    await eventually(() => expect(problemOf('archiving')).toContain('PostgreSQL does not answer.'));
    expect((await handle.query<WalArchiveStatus>('status')).streaming).toBe('failing');
    await attempts(4);
    await eventually(() => expect(problemOf('archiving')).toBeNull());
  });

  test('does not let its slot fill the disk while nothing can be archived', async () => {
    streams(failure('StagingFull', 'The staging disk is full.', true));
    steps.on('guardWalSlot', () => ({ keptBytes: 20_000_000_000, dropped: true }));
    await start();
    await eventually(() => expect(problemOf('slot')).toContain('its slot was given up'));
    expect(problemOf('slot')).toContain('18.6 GiB');
  });

  test('says that copies are behind, and when they no longer are', async () => {
    streams('well', 'behind', 'well');
    await start();
    await attempts(4);
    const slot = findings().filter((f) => f.about === 'slot');
    expect(slot.map((f) => f.problem)).toEqual([null, expect.stringContaining('copies are behind'), null]);
    expect(inputsOf<StreamWalInput>('streamWal').map((i) => i.known)).toEqual(['failing', 'well', 'behind', 'well']);
  });

  test('gives the slot up when not even that helps, and begins again', async () => {
    streams('well', 'behind', 'over-limit');
    await start();
    await attempts(4);
    expect(steps.attempts('dropWalSlot')).toBe(1);
    await eventually(() => expect(problemOf('slot')).toContain('given up'));
  });

  test('begins anew behind a gap when the server has removed what comes next, and says so', async () => {
    streams(failure('ChainBroken', 'The server has removed WAL.', false));
    await start();
    await eventually(() => expect(problemOf('gap')).toBe('The server has removed WAL.'));
    await attempts(2);
    expect(inputsOf<StreamWalInput>('streamWal').map((i) => i.anew)).toEqual([false, true]);
  });

  test('looks at every round whether copies have gaps', async () => {
    const gaps = [{ copy: 'west', timeline: 1, from: '0/1000000', to: '0/2000000' }];
    steps.on('findArchived', () => ({ archived: null, gaps }));
    steps.on('judgeWalGaps', () => ({ about: 'gap', problem: 'west has a gap' }));
    streams('well');
    await start();
    await eventually(() => expect(problemOf('gap')).toBe('west has a gap'));
    expect(inputsOf('judgeWalGaps')).toEqual([{ source: 'shop', gaps }]);
  });
});

describe('carrying WAL to the copies', () => {
  test('tells of the copies that it does not get to, and when they are there again', async () => {
    const rounds = [[{ copy: 'west', error: 'west does not answer.' }], []];
    const forEver = untilCancelled(() => {});
    steps.on('shipWal', () => {
      const copies = rounds.shift();
      return copies ? { copies } : forEver();
    });
    await start();
    await eventually(() => expect(steps.attempts('shipWal')).toBe(3));
    const told = findings().filter((f) => f.about === 'copies');
    expect(told.map((f) => f.problem)).toEqual([expect.stringContaining('west (west does not answer.)'), null]);
    expect(inputsOf('shipWal')).toMatchObject([{ known: [] }, { known: [{ copy: 'west' }] }, { known: [] }]);
  });
});

describe('the workflow', () => {
  test('that is cancelled gives its slot up, and closes its incidents', async () => {
    const handle = await start();
    await attempts(1);
    await handle.cancel();
    expect((await causes(handle))[0]).toBeInstanceOf(CancelledFailure);
    expect(steps.attempts('dropWalSlot')).toBe(1);
    expect(findings().map((f) => [f.about, f.problem])).toEqual([
      ['archiving', null],
      ['slot', null],
      ['copies', null],
      ['gap', null],
    ]);
  });

  test('fails at once for a source that is not archived', async () => {
    steps.on('planWal', () => {
      throw failure('UsageInvalid', 'The policy does not say that the WAL of shop is archived.', false);
    });
    expect((await causes(await start())).at(-1)).toMatchObject({ type: 'UsageInvalid' });
    expect(steps.attempts('dropWalSlot')).toBe(0);
  });

  test.each([
    ['a misspelt key', { sorce: 'shop' }, /sorce/],
    ['no source', { source: '' }, /source/],
  ])('refuses %s', async (_, input, named) => {
    const [cause] = await causes(await stage.start('walArchive', input));
    expect(cause).toMatchObject({ type: 'UsageInvalid', message: expect.stringMatching(named) });
  });
});
