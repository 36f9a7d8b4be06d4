import {
  ActivityCancellationType,
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  ApplicationFailure,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { WatchActivities } from '../activities/watch-holders.ts';
import {
  type AdmissionState,
  freeGone,
  grant,
  type Job,
  movedPositions,
  newAdmission,
  release,
  request,
  setMode,
} from '../policies/admission.ts';
import { queues } from '../policies/queues.ts';
import type { CoordinatorInput, CoordinatorStatus, OperatorAction, QueuePosition, SlotGrant, SlotRelease, SlotRequest } from './contracts.ts';

export const requestSlotSignal = defineSignal<[SlotRequest]>('requestSlot');
export const releaseSlotSignal = defineSignal<[SlotRelease]>('releaseSlot');
const configureSignal = defineSignal<[{ slots: number }]>('configure');
const statusQuery = defineQuery<CoordinatorStatus>('status');
const pauseUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('pause');
const resumeUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('resume');
const drainUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('drain');

/** Events after which the coordinator goes on in a new run, with all it knows. */
const defaultHistoryBudget = 2_000;

/**
 * Grants the fleet's backup slots. One workflow for all time: it waits for requests, tells jobs when it is their turn,
 * and takes slots back from jobs that are gone. A thin shell around policies/admission.ts.
 */
export async function coordinator(input: CoordinatorInput): Promise<void> {
  let state: AdmissionState = input.state ?? newAdmission(input.slots);
  state = { ...state, slots: input.slots };
  const now = () => new Date().toISOString();
  const budget = input.historyBudget ?? defaultHistoryBudget;

  setHandler(requestSlotSignal, (job) => {
    state = request(state, job, now());
  });
  setHandler(releaseSlotSignal, (job) => {
    state = release(state, job);
  });
  setHandler(configureSignal, ({ slots }) => {
    state = { ...state, slots };
  });
  setHandler(statusQuery, () => statusOf(state));
  const change = (mode: 'running' | 'paused' | 'draining') => (by: OperatorAction) => {
    state = setMode(state, mode, { operator: by.operator, reason: by.reason });
    return statusOf(state);
  };
  setHandler(pauseUpdate, change('paused'), { validator: assertNamed });
  setHandler(resumeUpdate, change('running'), { validator: assertNamed });
  setHandler(drainUpdate, change('draining'), { validator: assertNamed });

  const watch = createWatch(input.leaseTimeoutMs, (gone) => {
    state = freeGone(state, gone);
  });

  for (;;) {
    const seen = state;
    await serve();
    setCurrentDetails(describe(state));
    watch.follow([...state.holders, ...state.queue]);
    if (state !== seen) continue;
    if (isOverBudget()) break;
    await condition(() => state !== seen || isOverBudget());
  }
  watch.stop();
  await condition(allHandlersFinished);
  await continueAsNew<typeof coordinator>({ ...input, slots: state.slots, state });

  function isOverBudget(): boolean {
    const { continueAsNewSuggested, historyLength } = workflowInfo();
    return continueAsNewSuggested || historyLength > budget;
  }

  /** Grants what can be granted, and tells those concerned. Whoever cannot be told is gone. */
  async function serve(): Promise<void> {
    const round = grant(state, now());
    state = round.state;
    for (const { workflowId, runId } of round.granted) {
      await tell(workflowId, runId, (handle) => handle.signal<[SlotGrant]>('slotGranted', { runId }));
    }
    const places = movedPositions(state);
    state = places.state;
    for (const { job, position } of places.moved) {
      await tell(job.workflowId, job.runId, (handle) => handle.signal<[QueuePosition]>('queuePosition', { position }));
    }
  }

  async function tell(
    workflowId: string,
    runId: string,
    send: (handle: ReturnType<typeof getExternalWorkflowHandle>) => Promise<void>,
  ): Promise<void> {
    try {
      await send(getExternalWorkflowHandle(workflowId, runId));
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('a job that was to be told is gone', { workflowId, runId });
      state = freeGone(state, [{ workflowId, runId }]);
    }
  }
}

/** Watches jobs by an activity that costs no history while it waits; restarted when those to watch change. */
function createWatch(leaseTimeoutMs: number, onGone: (gone: Pick<Job, 'workflowId' | 'runId'>[]) => void) {
  const { watchHolders } = proxyActivities<WatchActivities>({
    taskQueue: queues.coordination,
    startToCloseTimeout: '1 day',
    heartbeatTimeout: leaseTimeoutMs / 2,
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    retry: { initialInterval: '1s', maximumInterval: '10s' },
  });
  let watched = '';
  let scope: CancellationScope | null = null;

  const follow = (jobs: Job[]) => {
    const ids = jobs.map(({ workflowId, runId }) => ({ workflowId, runId }));
    const key = ids.map((j) => `${j.workflowId} ${j.runId}`).sort().join('\n');
    if (key === watched) return;
    stop();
    watched = key;
    if (ids.length === 0) return;
    scope = new CancellationScope();
    scope
      .run(() => watchHolders({ jobs: ids, leaseTimeoutMs }))
      .then(
        (gone) => {
          watched = '';
          onGone(gone);
        },
        (error: unknown) => {
          if (isCancellation(error)) return;
          // The next change of state starts a new watch; until then requests and releases still work.
          log.error('the watch over jobs ended', { error: String(error) });
          watched = '';
        },
      );
  };
  const stop = () => {
    scope?.cancel();
    scope = null;
    watched = '';
  };
  return { follow, stop };
}

function assertNamed({ operator, reason }: OperatorAction): void {
  if (operator?.trim() && reason?.trim()) return;
  throw ApplicationFailure.nonRetryable('Operator and reason must both be given, so that the record says who and why.', 'UsageInvalid');
}

function statusOf(state: AdmissionState): CoordinatorStatus {
  return {
    mode: state.mode,
    modeSetBy: state.modeSetBy,
    slots: state.slots,
    holders: state.holders,
    queue: state.queue.map(({ workflowId, runId, source, critical, priority, since }) => ({
      workflowId,
      runId,
      source,
      critical,
      priority,
      since,
    })),
    leasesFreed: state.leasesFreed,
    granted: state.granted,
  };
}

/** For the Temporal Web UI (Markdown). */
function describe(state: AdmissionState): string {
  const by = state.modeSetBy ? ` (${state.modeSetBy.operator}: ${state.modeSetBy.reason})` : '';
  const lines = [`**${state.mode}**${by} · ${state.holders.length} of ${state.slots} slots taken · ${state.queue.length} waiting`, ''];
  for (const h of state.holders) lines.push(`- ▶ ${h.source} since ${h.grantedAt} (\`${h.workflowId}\`)`);
  for (const [i, w] of state.queue.entries()) lines.push(`- ${i + 1}. ${w.source}${w.critical ? ' **critical**' : ''}, waiting since ${w.since}`);
  lines.push('', `${state.granted} granted, ${state.leasesFreed} leases taken back`);
  return lines.join('\n');
}
