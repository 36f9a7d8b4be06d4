import {
  ActivityFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  isCancellation,
  log,
  proxyActivities,
  sleep,
} from '@temporalio/workflow';
import type { CoordinationActivities } from '../activities/coordination.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { queues } from '../policies/queues.ts';
import type { WindowState } from '../policies/window.ts';
import { messageOf } from './failure.ts';
import { patient } from './options.ts';
import type { Slot } from './slot.ts';

/**
 * The hours of a source while a job of it is under way (mission row A6). What is being sent pauses when they are over, and
 * goes on where it was when they begin again; nobody holds a slot, or a process, meanwhile. What cannot be taken up in its
 * middle (sealing, validating) is not begun outside of them, but comes to its end once begun.
 */
export interface Hours {
  /** Runs a step that can be taken up again: it is ended when the hours are, and taken again when they begin. */
  pausing<T>(step: (pause: Pause | null) => Promise<T>): Promise<T>;
  /** Runs a last short step, also when they are over meanwhile. */
  ending<T>(step: () => Promise<T>): Promise<T>;
  /** Milliseconds within the hours. */
  elapse(ms: number): Promise<void>;
  /** True when they are over, and all that was under way has come to rest. */
  isAtRest(): boolean;
  /**
   * Waits until they begin, without a slot, and returns with one; at once while they last. Without one, when there is
   * nothing to wait for any more.
   */
  begin(slot: Slot, waiting: (until: () => Promise<void>) => Promise<void>, isOver?: () => boolean): Promise<void>;
}

/** What a step ended with when it was told to; null at its first time. */
export interface Pause {
  /** What the activity told of itself; undefined when it told nothing, or was lost. */
  told: unknown;
}

/** Of a source that may be backed up at any time, or a job that may. */
const always: Hours = {
  pausing: (step) => step(null),
  ending: (step) => step(),
  elapse: sleep,
  isAtRest: () => false,
  begin: async () => {},
};

/** A changed policy is noticed after so long, also while nothing else happens. */
const lookEveryMs = 4 * 3_600_000;
const looksApartMs = 1_000;

const { lookAtHours } = proxyActivities<CoordinationActivities>({ ...patient, taskQueue: queues.coordination });

/** True when the hours for which it was planned are over. */
export function areOver({ closesAt }: Pick<BackupPlan, 'closesAt'>): boolean {
  return closesAt !== undefined && Date.now() >= Date.parse(closesAt);
}

/**
 * Runs the body while the hours of the source are kept.
 *
 * @param onChange told when they begin again, ISO-8601, once they are over; null once they have begun
 */
export async function keepingHours<T>(
  plan: BackupPlan,
  onChange: (begin: string | null) => void,
  body: (hours: Hours) => Promise<T>,
): Promise<T> {
  if (plan.closesAt === undefined) return body(always);
  const watch = new CancellationScope();
  let isOpen = true;
  /** The job waits without a slot, or for one. */
  let isAway = false;
  let underWay = 0;
  const maySend = () => isOpen && !isAway;

  watch
    .run(() => follow({ source: plan.source, until: plan.closesAt ?? null }, change))
    .catch((error: unknown) => {
      // The body has ended, or the job is being cancelled.
      if (!isCancellation(error)) throw error;
    });
  try {
    return await body({ pausing, ending, elapse, isAtRest, begin });
  } finally {
    watch.cancel();
    if (!isOpen) onChange(null);
  }

  function change(now: WindowState): void {
    isOpen = now.isOpen;
    onChange(isOpen ? null : now.until);
  }

  async function pausing<S>(step: (pause: Pause | null) => Promise<S>): Promise<S> {
    const outer = CancellationScope.current();
    let pause = null as Pause | null;
    for (;;) {
      await condition(maySend);
      const scope = new CancellationScope();
      let hasEnded = false;
      condition(() => hasEnded || !maySend()).then(
        () => hasEnded || scope.cancel(),
        // It is being cancelled anyway.
        () => {},
      );
      const last = pause;
      try {
        return await ending(() => scope.run(() => step(last)));
      } catch (error) {
        if (!scope.consideredCancelled || outer.consideredCancelled || !isPause(error)) throw error;
        pause = { told: toldBy(error) ?? last?.told };
      } finally {
        hasEnded = true;
      }
    }
  }

  async function ending<S>(step: () => Promise<S>): Promise<S> {
    underWay += 1;
    try {
      return await step();
    } finally {
      underWay -= 1;
    }
  }

  async function elapse(ms: number): Promise<void> {
    for (let left = ms; left > 0; ) {
      await condition(maySend);
      const from = Date.now();
      if (!(await condition(() => !maySend(), left))) return;
      left -= Date.now() - from;
    }
  }

  function isAtRest(): boolean {
    return !maySend() && underWay === 0;
  }

  async function begin(
    slot: Slot,
    waiting: (until: () => Promise<void>) => Promise<void>,
    isOver: () => boolean = () => false,
  ): Promise<void> {
    while (!isOpen && !isOver()) {
      isAway = true;
      await slot.lend(async () => {
        await waiting(() => condition(() => isOpen || isOver()));
        return !isOver();
      });
      isAway = false;
    }
  }
}

/** Tells of every change; ends when there can be none any more. Only Temporal's clock counts, for all workers. */
async function follow(
  { source, until }: { source: string; until: string | null },
  onChange: (now: WindowState) => void,
): Promise<void> {
  let known: WindowState = { isOpen: true, until };
  while (known.until !== null) {
    const leftMs = Date.parse(known.until) - Date.now();
    await sleep(Math.max(looksApartMs, known.isOpen ? leftMs : Math.min(leftMs, lookEveryMs)));
    const now = await look(source, known);
    const isNews = now.isOpen !== known.isOpen || now.until !== known.until;
    known = now;
    if (isNews) onChange(now);
  }
}

/** A policy that cannot be asked changes nothing but that the next hours are not known: then they have begun. */
async function look(source: string, known: WindowState): Promise<WindowState> {
  const at = new Date().toISOString();
  try {
    return await lookAtHours({ source, at });
  } catch (error) {
    if (CancellationScope.current().consideredCancelled) throw error;
    log.warn('the hours of the source are not known', { source, error: messageOf(error) });
    return known.isOpen || at >= (known.until ?? at) ? { isOpen: true, until: null } : known;
  }
}

/** What a step ends with that was told to: one whose worker was lost on the way is not tried again then. */
function isPause(error: unknown): boolean {
  return isCancellation(error) || (error instanceof ActivityFailure && error.retryState === 'CANCEL_REQUESTED');
}

function toldBy(error: unknown): unknown {
  const cause = error instanceof ActivityFailure ? error.cause : undefined;
  return cause instanceof CancelledFailure ? cause.details?.[0] : undefined;
}
