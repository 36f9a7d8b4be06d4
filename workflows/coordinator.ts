import {
  ApplicationFailure,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  getExternalWorkflowHandle,
  isCancellation,
  log,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { SlotActivities } from '../activities/slot.ts';
import {
  type AdmissionState,
  adopt,
  freeGone,
  grant,
  handOver,
  isHolder,
  isKnown,
  movedPositions,
  newAdmission,
  release,
  request,
  resize,
  setMode,
  strain,
} from '../policies/admission.ts';
import { queues } from '../policies/queues.ts';
import {
  lapse,
  lift,
  nextLapse,
  type Person,
  report,
  restrict,
  restriction,
  type Strain,
  type StrainReport,
} from '../policies/strain.ts';
import type {
  CoordinatorInput,
  CoordinatorSettings,
  CoordinatorStatus,
  OperatorAction,
  QueuePosition,
  SlotGrant,
  SlotRelease,
  SlotRequest,
} from './contracts.ts';
import {
  assertNamed,
  assertRestricted,
  isRelease,
  isRequest,
  isSettings,
  isStrainReport,
} from './coordinator-messages.ts';
import { createStrainNotes } from './coordinator-notes.ts';
import { describe, statusOf } from './coordinator-view.ts';
import { createWatch } from './coordinator-watch.ts';
import { messageOf } from './failure.ts';
import { short } from './options.ts';

const requestSlotSignal = defineSignal<[SlotRequest]>('requestSlot');
const releaseSlotSignal = defineSignal<[SlotRelease]>('releaseSlot');
const configureSignal = defineSignal<[CoordinatorSettings]>('configure');
const statusQuery = defineQuery<CoordinatorStatus>('status');
const pauseUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('pause');
const resumeUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('resume');
const restrictUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('restrict');
const liftUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('lift');
const strainSignal = defineSignal<[StrainReport]>('strain');
const drainUpdate = defineUpdate<CoordinatorStatus, [OperatorAction]>('drain');

/** Events after which the coordinator goes on in a new run, with all it knows. */
const defaultHistoryBudget = 2_000;

/**
 * Grants the fleet's backup slots. One workflow for all time: it waits for requests, tells jobs when it is their turn,
 * and takes slots back from jobs that are gone. A thin shell around policies/admission.ts.
 */
export async function coordinator(input: CoordinatorInput): Promise<void> {
  if (!isSettings(input)) {
    throw ApplicationFailure.nonRetryable('The coordinator needs its settings.', 'UsageInvalid', {
      next: 'Leave it to the workers: they start the coordinator with what the policy says.',
    });
  }
  // A state that an older version left may lack something.
  let state: AdmissionState = resize({ ...newAdmission(input.slots), ...input.state }, input.slots);
  let { leaseTimeoutMs } = input;
  /** Holders that asked again: they are told again. */
  const retell = new Map<string, SlotRequest>();
  const now = () => new Date().toISOString();
  const budget = input.historyBudget ?? defaultHistoryBudget;

  setHandler(requestSlotSignal, (job) => {
    if (!isRequest(job)) return ignore('requestSlot');
    if (isHolder(state, job)) retell.set(job.runId, job);
    state = request(state, job, now());
  });
  setHandler(releaseSlotSignal, (job) => {
    if (!isRelease(job)) return ignore('releaseSlot');
    state = release(state, job);
  });
  setHandler(configureSignal, (settings) => {
    if (!isSettings(settings)) return ignore('configure');
    leaseTimeoutMs = settings.leaseTimeoutMs;
    state = resize(state, settings.slots);
  });
  setHandler(statusQuery, () => statusOf(state));
  const person = ({ operator, reason }: OperatorAction) => ({ operator: operator.trim(), reason: reason.trim() });
  const change = (mode: 'running' | 'paused' | 'draining') => (by: OperatorAction) => {
    state = setMode(state, mode, person(by));
    return statusOf(state);
  };
  setHandler(pauseUpdate, change('paused'), { validator: assertNamed });
  setHandler(resumeUpdate, change('running'), { validator: assertNamed });
  setHandler(drainUpdate, change('draining'), { validator: assertNamed });

  setHandler(strainSignal, (told) => {
    if (!isStrainReport(told)) return ignore('strain');
    state = strain(state, (strains) => report(strains, told, now()));
  });
  const restrictTo = (change: (strains: Strain[], by: Person) => Strain[]) => (by: OperatorAction) => {
    state = strain(state, (strains) => change(strains, person(by)));
    return statusOf(state);
  };
  setHandler(
    restrictUpdate,
    restrictTo((strains, by) => restrict(strains, by, now())),
    { validator: assertNamed },
  );
  setHandler(liftUpdate, restrictTo(lift), { validator: (by) => assertRestricted(state.strains, by) });

  const watch = createWatch((gone) => {
    for (const job of gone) state = job.resetTo ? handOver(state, job, job.resetTo) : freeGone(state, [job]);
    watchAgain = true;
  });
  let watchAgain = false;
  const notes = createStrainNotes(state.toldStrain, (toldStrain) => {
    state = { ...state, toldStrain };
  });

  if (!input.state) await takeOver();
  for (;;) {
    state = strain(state, (strains) => lapse(strains, now()));
    const seen = state;
    watchAgain = false;
    const isIdle = () => state === seen && retell.size === 0 && !watchAgain;
    await serve();
    setCurrentDetails(describe(state));
    notes.say(restriction(state.strains));
    watch.follow([...state.holders, ...state.queue], leaseTimeoutMs);
    // What has come meanwhile is in the state, which goes along; only those who must be told again do not.
    if (isOverBudget() && retell.size === 0) break;
    if (!isIdle()) continue;
    await untilNews(() => !isIdle() || isOverBudget());
  }
  watch.stop();
  await condition(allHandlersFinished);
  await continueAsNew<typeof coordinator>({ ...input, slots: state.slots, leaseTimeoutMs, state });

  /** Something has come, or the lease of something under strain is over. */
  async function untilNews(isNews: () => boolean): Promise<void> {
    const lapses = nextLapse(state.strains);
    if (lapses === null) await condition(isNews);
    else await condition(isNews, Math.max(1, Date.parse(lapses) - Date.now()));
  }

  function isOverBudget(): boolean {
    const { continueAsNewSuggested, historyLength } = workflowInfo();
    return continueAsNewSuggested || historyLength > budget;
  }

  /** The first of its kind finds nobody. One whose predecessor was terminated must not grant what others hold. */
  async function takeOver(): Promise<void> {
    const { findJobs } = proxyActivities<SlotActivities>({ ...short, taskQueue: queues.coordination });
    try {
      const { holders, waiting } = await findJobs();
      state = adopt(state, holders, now());
      const forgotten = waiting.filter((job) => !isKnown(state, job));
      await Promise.all(forgotten.map((job) => tell(job, (handle) => handle.signal('askAgain'))));
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.error('who holds a slot could not be found out', { error: messageOf(error) });
    }
  }

  /** Grants what can be granted, and tells those concerned, all at once. Whoever cannot be told is gone. */
  async function serve(): Promise<void> {
    const round = grant(state, now());
    const places = movedPositions(round.state);
    state = places.state;
    const granted = [...round.granted, ...[...retell.values()].filter((job) => isHolder(state, job))];
    retell.clear();
    await Promise.all([
      ...granted.map((job) => tell(job, (handle) => handle.signal<[SlotGrant]>('slotGranted', grantFor(job)))),
      ...places.moved.map(({ job, position, why }) => {
        const place: QueuePosition = why === null ? { position } : { position, why };
        return tell(job, (handle) => handle.signal<[QueuePosition]>('queuePosition', place));
      }),
    ]);
  }

  async function tell(
    { workflowId, runId }: SlotRelease,
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

function grantFor({ runId, turn }: SlotGrant): SlotGrant {
  return turn === undefined ? { runId } : { runId, turn };
}

function ignore(signal: string): void {
  log.error('a signal that makes no sense was ignored', { signal });
}
