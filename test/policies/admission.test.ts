import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  type AdmissionState,
  adopt,
  freeGone,
  grant,
  handOver,
  isHolder,
  movedPositions,
  newAdmission,
  release,
  request,
  resize,
  setMode,
  strain,
} from '../../policies/admission.ts';
import { lift, report } from '../../policies/strain.ts';

const now = '2026-03-01T02:00:00Z';
const by = { operator: 'Ada', reason: 'disks are being moved' };

/** A job `w` in its first run, ordinary unless said otherwise. */
const job = (
  workflowId: string,
  more: { runId?: string; critical?: boolean; priority?: number; turn?: number } = {},
) => ({
  workflowId,
  runId: 'run-1',
  source: `source-${workflowId}`,
  critical: false,
  priority: 50,
  ...more,
});

const queued = (jobs: ReturnType<typeof job>[], slots = 3) =>
  jobs.reduce((state, j) => request(state, j, now), newAdmission(slots));
const names = (jobs: { workflowId: string }[]) => jobs.map((j) => j.workflowId);

describe('whose turn it is', () => {
  test('at most as many as there are slots are admitted, the others wait', () => {
    const { state, granted } = grant(queued(['a', 'b', 'c', 'd', 'e'].map((w) => job(w))), now);
    expect(names(granted)).toEqual(['a', 'b', 'c']);
    expect(names(state.queue)).toEqual(['d', 'e']);
    expect(grant(state, now).granted).toEqual([]);
  });

  test('critical sources go first, then the higher priority, then who came first', () => {
    const jobs = [
      job('late-but-urgent', { priority: 90 }),
      job('ordinary'),
      job('critical-low', { critical: true, priority: 1 }),
      job('ordinary-too'),
      job('critical-high', { critical: true, priority: 2 }),
    ];
    expect(names(queued(jobs).queue)).toEqual([
      'critical-high',
      'critical-low',
      'late-but-urgent',
      'ordinary',
      'ordinary-too',
    ]);
  });

  test('a slot that is given back goes to the next in the queue', () => {
    const full = grant(
      queued(
        ['a', 'b'].map((w) => job(w)),
        1,
      ),
      now,
    ).state;
    expect(names(grant(release(full, job('a')), now).granted)).toEqual(['b']);
  });

  test('a request can be taken back', () => {
    expect(release(queued([job('a'), job('b')]), job('a')).queue).toMatchObject([{ workflowId: 'b' }]);
  });

  test('a new run of a workflow takes the place of the old one, which is over', () => {
    const held = grant(queued([job('a')]), now).state;
    const again = request(held, job('a', { runId: 'run-2' }), now);
    expect(again.holders).toEqual([]);
    expect(again.queue).toMatchObject([{ workflowId: 'a', runId: 'run-2' }]);
    expect(isHolder(again, job('a'))).toBe(false);
  });

  test('the release of an old run takes nothing from the new one', () => {
    const held = grant(queued([job('a', { runId: 'run-2' })]), now).state;
    expect(release(held, job('a'))).toBe(held);
  });
});

describe('jobs that go on though something was reset or forgotten', () => {
  test('a job that has lent its slot asks in another turn, by which its grant is known', () => {
    const { state, granted } = grant(queued([job('a')]), now);
    expect(granted[0]).not.toHaveProperty('turn');
    const lent = release(state, job('a'));
    expect(grant(request(lent, job('a', { turn: 1 }), now), now).granted).toMatchObject([{ turn: 1 }]);
    // Where giving it back was not heard of, it still holds it, as of the new turn; an old request changes nothing.
    const again = request(state, job('a', { turn: 1 }), now);
    expect(again.holders).toMatchObject([{ workflowId: 'a', turn: 1 }]);
    expect(request(again, job('a'), now)).toBe(again);
    const waits = request(queued([job('a'), job('b')]), job('b', { turn: 1 }), now);
    expect(waits.queue.map((w) => w.turn)).toEqual([undefined, 1]);
  });

  test('a holder that was reset keeps its slot as the new run; one that only waited asks again', () => {
    const { state } = grant(queued(['a', 'b', 'c', 'waits'].map((w) => job(w))), now);
    const after = handOver(state, job('b'), 'run-2');
    expect(after.holders.map((h) => `${h.workflowId} ${h.runId}`)).toEqual(['a run-1', 'b run-2', 'c run-1']);
    expect(after.leasesFreed).toBe(0);
    expect(release(after, job('b'))).toBe(after);
    expect(names(release(after, job('b', { runId: 'run-2' })).holders)).toEqual(['a', 'c']);
    // The run that goes on asks, for it was reset to before it had: it holds the slot already, and is told again.
    const asks = job('b', { runId: 'run-2' });
    expect(request(after, asks, now)).toBe(after);
    expect(isHolder(after, asks)).toBe(true);
    expect(handOver(state, job('waits'), 'run-2').queue).toEqual([]);
    expect(handOver(state, job('nobody'), 'run-2')).toBe(state);
  });

  test('a coordinator that takes over grants nothing while the holders it found fill the slots', () => {
    const found = ['x', 'y', 'z'].map((w) => job(w));
    const taken = adopt(queued([job('a')]), found, now);
    expect(names(taken.holders)).toEqual(['x', 'y', 'z']);
    expect(grant(taken, now).granted).toEqual([]);
    expect(names(grant(release(taken, job('y')), now).granted)).toEqual(['a']);
    expect(adopt(taken, found, now)).toBe(taken);
    expect(adopt(queued([job('a')]), [job('a')], now).holders).toEqual([]);
  });

  test('a drain is not over while somebody is found to hold a slot', () => {
    const drained = setMode(newAdmission(3), 'draining', by);
    expect(drained.mode).toBe('drained');
    const taken = adopt(drained, [job('x')], now);
    expect(taken.mode).toBe('draining');
    expect(release(taken, job('x')).mode).toBe('drained');
  });
});

describe('jobs that are gone', () => {
  test('lose their slots and their places, and only slots count as leases taken back', () => {
    const state = grant(queued([job('a'), job('b')], 1), now).state;
    const after = freeGone(state, [job('a'), job('b'), job('unknown')]);
    expect(after).toMatchObject({ holders: [], queue: [], leasesFreed: 1 });
  });
});

describe('fewer slots', () => {
  test('take none from those who have one; nobody new gets one until it fits', () => {
    const full = grant(queued(['a', 'b', 'c', 'd'].map((w) => job(w))), now).state;
    const small = resize(full, 1);
    expect(names(small.holders)).toEqual(['a', 'b', 'c']);
    const twoLeft = release(small, job('a'));
    expect(grant(twoLeft, now).granted).toEqual([]);
    const noneLeft = release(release(twoLeft, job('b')), job('c'));
    expect(names(grant(noneLeft, now).granted)).toEqual(['d']);
  });

  test('or more: those that became free are granted', () => {
    const full = grant(queued(['a', 'b', 'c', 'd', 'e'].map((w) => job(w))), now).state;
    expect(names(grant(resize(full, 5), now).granted)).toEqual(['d', 'e']);
    expect(resize(full, 3)).toBe(full);
  });
});

describe('pausing and draining', () => {
  test('a paused coordinator grants nothing and forgets nobody', () => {
    const paused = setMode(queued([job('a')]), 'paused', by);
    expect(grant(paused, now)).toEqual({ state: paused, granted: [] });
    expect(paused.modeSetBy).toEqual(by);
    expect(names(grant(setMode(paused, 'running', by), now).granted)).toEqual(['a']);
  });

  test('a drain is over when the last job is done, whatever way it ends', () => {
    const busy = setMode(grant(queued([job('a'), job('b'), job('c')], 2), now).state, 'draining', by);
    expect(busy.mode).toBe('draining');
    const one = release(busy, job('a'));
    expect(one.mode).toBe('draining');
    expect(release(one, job('b')).mode).toBe('drained');
    expect(freeGone(one, [job('b')]).mode).toBe('drained');
    expect(request(one, job('b', { runId: 'run-2' }), now).mode).toBe('drained');
    expect(names(release(one, job('b')).queue)).toEqual(['c']);
  });

  test('a drain of nothing is over at once', () => {
    expect(setMode(newAdmission(3), 'draining', by).mode).toBe('drained');
  });
});

describe('while something is under strain', () => {
  const wal = { cause: 'wal/shop', why: 'the WAL of shop waits', leaseMs: 60_000 };
  const strained = (state: AdmissionState) => strain(state, (s) => report(s, wal, now));

  test('only critical sources get slots; the others are told why, and get theirs when it is over', () => {
    const state = strained(queued([job('a'), job('vital', { critical: true }), job('b')]));
    const round = grant(state, now);
    expect(names(round.granted)).toEqual(['vital']);
    const told = movedPositions(round.state);
    expect(told.moved.map((m) => [m.job.workflowId, m.position, m.why])).toEqual([
      ['a', 1, wal.why],
      ['b', 2, wal.why],
    ]);
    expect(movedPositions(told.state).moved).toEqual([]);
    const over = strain(told.state, (s) => report(s, { ...wal, why: null }, now));
    expect(movedPositions(over).moved.map((m) => m.why)).toEqual([null, null]);
    expect(names(grant(over, now).granted)).toEqual(['a', 'b']);
  });

  test('who has a slot keeps it, and nobody gets one while the coordinator is paused', () => {
    const busy = strained(grant(queued([job('a')]), now).state);
    expect(names(busy.holders)).toEqual(['a']);
    const paused = setMode(request(busy, job('vital', { critical: true }), now), 'paused', by);
    expect(grant(paused, now).granted).toEqual([]);
  });
});

describe('places in the queue', () => {
  /** All the places a job is told as those before it leave, one by one. */
  function placesTold(waiting: number): number[] {
    const jobs = Array.from({ length: waiting }, (_, i) => job(`w${i}`));
    let state = queued(jobs, 1);
    const told: number[] = [];
    for (const gone of jobs) {
      const round = movedPositions(state);
      for (const { job: moved, position } of round.moved) {
        if (moved.workflowId === `w${waiting - 1}`) told.push(position);
      }
      state = release(round.state, gone);
    }
    return told;
  }

  test('are told one by one among the first five, by halvings behind them', () => {
    expect(placesTold(40)).toEqual([40, 20, 10, 5, 4, 3, 2, 1]);
  });

  test('are told once, and again only after they have changed', () => {
    const { state, moved } = movedPositions(queued([job('a'), job('b')]));
    expect(moved.map((m) => m.position)).toEqual([1, 2]);
    expect(movedPositions(state)).toEqual({ state, moved: [] });
  });
});

type Step = (state: AdmissionState) => AdmissionState;

/** Anything that can happen, in any order, with few workflows so that their runs meet. */
const steps = () => {
  const id = fc.record({
    workflowId: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
    runId: fc.constantFrom('1', '2', '3'),
  });
  const asked = fc.record({ id, critical: fc.boolean(), priority: fc.integer({ min: 0, max: 3 }) });
  return fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: asked.map(
          ({ id, ...rest }): Step =>
            (s) =>
              request(s, { ...id, source: 's', ...rest }, now),
        ),
      },
      { weight: 3, arbitrary: fc.constant<Step>((s) => grant(s, now).state) },
      {
        weight: 2,
        arbitrary: id.map(
          (j): Step =>
            (s) =>
              release(s, j),
        ),
      },
      {
        weight: 1,
        arbitrary: fc.array(id, { maxLength: 3 }).map(
          (gone): Step =>
            (s) =>
              freeGone(s, gone),
        ),
      },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 1, max: 4 }).map(
          (slots): Step =>
            (s) =>
              resize(s, slots),
        ),
      },
      {
        weight: 1,
        arbitrary: fc.constantFrom('running', 'paused', 'draining').map(
          (mode): Step =>
            (s) =>
              setMode(s, mode, by),
        ),
      },
      { weight: 1, arbitrary: fc.constant<Step>((s) => movedPositions(s).state) },
      {
        weight: 1,
        arbitrary: fc.constantFrom('under strain', null).map(
          (why): Step =>
            (s) =>
              strain(s, (strains) => report(strains, { cause: 'wal/x', why, leaseMs: 60_000 }, now)),
        ),
      },
    ),
    { maxLength: 60 },
  );
};

/** Changes to a frozen thing throw: state is data, and the workflow compares it by identity. */
function freeze(state: AdmissionState): AdmissionState {
  for (const list of [state.holders, state.queue]) {
    list.forEach(Object.freeze);
    Object.freeze(list);
  }
  return Object.freeze(state);
}

/** Every state that a sequence of steps passes through. */
function statesOf(sequence: Step[]): AdmissionState[] {
  const states = [freeze(newAdmission(2))];
  for (const step of sequence) states.push(freeze(step(states.at(-1) as AdmissionState)));
  return states;
}

describe('whatever happens, in whatever order', () => {
  test('nobody new is admitted above the number of slots', () => {
    fc.assert(
      fc.property(steps(), (sequence) => {
        for (const state of statesOf(sequence)) {
          const { granted, state: after } = grant(state, now);
          if (granted.length > 0) expect(after.holders.length).toBeLessThanOrEqual(after.slots);
          if (state.mode === 'running') {
            const admitted = state.queue.filter((w) => w.critical || state.strains.length === 0);
            expect(granted).toHaveLength(Math.min(admitted.length, Math.max(0, state.slots - state.holders.length)));
            expect(names(granted)).toEqual(names(state.queue.slice(0, granted.length)));
          } else expect(granted).toEqual([]);
        }
      }),
    );
  });

  test('a workflow is there once at most, and the queue is in order', () => {
    fc.assert(
      fc.property(steps(), (sequence) => {
        for (const { holders, queue } of statesOf(sequence)) {
          const all = names([...holders, ...queue]);
          expect(new Set(all).size).toBe(all.length);
          const turn = queue.map((j) =>
            [j.critical ? 0 : 1, 100 - j.priority, j.arrival].map((n) => String(n).padStart(6, '0')).join(),
          );
          expect(turn).toEqual(turn.toSorted());
        }
      }),
    );
  });

  test('asking and giving back are done once, however often they are repeated', () => {
    fc.assert(
      fc.property(steps(), (sequence) => {
        const state = statesOf(sequence).at(-1) as AdmissionState;
        for (const known of [...state.holders, ...state.queue]) {
          expect(request(state, { ...known, critical: true, priority: 100 }, now)).toBe(state);
          const without = release(state, known);
          expect(release(without, known)).toBe(without);
        }
      }),
    );
  });

  test('a drain is never left open with nobody in it', () => {
    fc.assert(
      fc.property(steps(), (sequence) => {
        for (const { mode, holders } of statesOf(sequence)) {
          if (mode === 'draining') expect(holders).not.toEqual([]);
          if (mode === 'drained') expect(holders).toEqual([]);
        }
      }),
    );
  });

  test('nobody who asked is forgotten: each is admitted in the end', () => {
    fc.assert(
      fc.property(steps(), (sequence) => {
        let state = setMode(statesOf(sequence).at(-1) as AdmissionState, 'running', by);
        state = strain(state, (strains) => lift(strains, by));
        const waiting = new Set(names(state.queue));
        for (let round = 0; waiting.size > 0 && round < 100; round++) {
          const turn = grant(state, now);
          for (const { workflowId } of turn.granted) waiting.delete(workflowId);
          state = freeGone(turn.state, turn.state.holders);
        }
        expect([...waiting]).toEqual([]);
      }),
    );
  });
});
