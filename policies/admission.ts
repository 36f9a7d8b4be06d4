import { restriction, type Strain } from './strain.ts';

/**
 * Who may back up now: three slots for the whole fleet, everyone else queues; critical sources first, then higher
 * priority, then who came first; only critical ones while something is under strain. Plain data in, plain data out, so that it survives continue-as-new and is tested alone.
 */

export interface Job {
  workflowId: string;
  runId: string;
  source: string;
  /** How many slots the run has given back before; 0 when left out. */
  turn?: number;
}
export interface Holder extends Job {
  /** ISO-8601 */
  grantedAt: string;
}
export interface Waiter extends Job {
  critical: boolean;
  priority: number;
  /** ISO-8601 */
  since: string;
  /** Order of arrival. */
  arrival: number;
  /** The place it was told last, 0 for none. */
  toldPosition: number;
  /** Why it was told that it gets no slot for now, in whichever place; null or left out when it may get one. */
  toldWhy?: string | null;
}

export type AdmissionMode = 'running' | 'paused' | 'draining' | 'drained';

export interface AdmissionState {
  slots: number;
  mode: AdmissionMode;
  modeSetBy: { operator: string; reason: string } | null;
  holders: Holder[];
  queue: Waiter[];
  arrivals: number;
  granted: number;
  leasesFreed: number;
  /** Why only critical sources get slots. */
  strains: Strain[];
  /** What people were told of that; null when they know that everybody gets slots. */
  toldStrain: string | null;
}

export function newAdmission(slots: number): AdmissionState {
  return {
    ...{ slots, mode: 'running', modeSetBy: null, holders: [], queue: [], arrivals: 0, granted: 0, leasesFreed: 0 },
    strains: [],
    toldStrain: null,
  };
}

type Request = Job & Pick<Waiter, 'critical' | 'priority'>;

const isSame = (a: Pick<Job, 'workflowId' | 'runId'>) => (b: Pick<Job, 'workflowId' | 'runId'>) =>
  a.workflowId === b.workflowId && a.runId === b.runId;

/**
 * Puts a job into the queue. Repeating it changes nothing but the turn that it is granted; a new run of a workflow takes the place of the old one,
 * which must be over, for Temporal runs one at a time.
 */
export function request(state: AdmissionState, job: Request, now: string): AdmissionState {
  if (isKnown(state, job)) return inTurn(state, job);
  const others = <T extends Job>(jobs: T[]) => jobs.filter((j) => j.workflowId !== job.workflowId);
  const { critical, priority } = job;
  const waiter = {
    ...jobOf(job),
    critical,
    priority,
    since: now,
    arrival: state.arrivals,
    toldPosition: 0,
  };
  const queue = [...others(state.queue), waiter].sort(byTurn);
  return settleDrain({ ...state, holders: others(state.holders), queue, arrivals: state.arrivals + 1 });
}

/** One that asks in a later turn has given back, or tried to, what it was granted before. */
function inTurn(state: AdmissionState, job: Request): AdmissionState {
  const { turn = 0 } = job;
  const same = isSame(job);
  const isEarlier = (known: Job) => same(known) && (known.turn ?? 0) < turn;
  if (![...state.holders, ...state.queue].some(isEarlier)) return state;
  const renewed = <T extends Job>(jobs: T[]) => jobs.map((j) => (isEarlier(j) ? { ...j, turn } : j));
  return { ...state, holders: renewed(state.holders), queue: renewed(state.queue) };
}

function jobOf({ workflowId, runId, source, turn }: Job): Job {
  return { workflowId, runId, source, ...(turn === undefined ? {} : { turn }) };
}

function byTurn(a: Waiter, b: Waiter): number {
  return Number(b.critical) - Number(a.critical) || b.priority - a.priority || a.arrival - b.arrival;
}

/** Takes note of jobs that hold a slot since before this coordinator's time. They may be more than there are slots. */
export function adopt(state: AdmissionState, jobs: Job[], now: string): AdmissionState {
  const known = (job: Job) => state.holders.some(isSame(job)) || state.queue.some(isSame(job));
  const adopted = jobs.filter((j) => !known(j)).map((job) => ({ ...jobOf(job), grantedAt: now }));
  if (adopted.length === 0) return state;
  const mode = state.mode === 'drained' ? 'draining' : state.mode;
  return { ...state, mode, holders: [...state.holders, ...adopted] };
}

/** Gives a slot back, or takes a request back. Repeating it changes nothing. */
export function release(state: AdmissionState, job: Pick<Job, 'workflowId' | 'runId'>): AdmissionState {
  const same = isSame(job);
  if (!isKnown(state, job)) return state;
  return settleDrain({
    ...state,
    holders: state.holders.filter((h) => !same(h)),
    queue: state.queue.filter((w) => !same(w)),
  });
}

/** Takes slots and places back from jobs that are gone. */
export function freeGone(state: AdmissionState, gone: Pick<Job, 'workflowId' | 'runId'>[]): AdmissionState {
  const lost = state.holders.filter((h) => gone.some(isSame(h))).length;
  const after = gone.reduce(release, state);
  return lost === 0 ? after : { ...after, leasesFreed: state.leasesFreed + lost };
}

/** Leaves the slot of a job that was reset to the run that goes on in its place. One that only waited asks again. */
export function handOver(state: AdmissionState, job: Pick<Job, 'workflowId' | 'runId'>, runId: string): AdmissionState {
  const same = isSame(job);
  if (!state.holders.some(same)) return release(state, job);
  return { ...state, holders: state.holders.map((h) => (same(h) ? { ...h, runId } : h)) };
}

/** Grants what can be granted. Returns the new state and those who got a slot. */
export function grant(state: AdmissionState, now: string): { state: AdmissionState; granted: Holder[] } {
  if (state.mode !== 'running') return { state, granted: [] };
  const free = Math.max(0, state.slots - state.holders.length);
  // The critical ones are the first of the queue.
  const admitted = state.queue.filter((w) => whyNot(state, w) === null);
  const granted = admitted.slice(0, free).map((waiter) => ({ ...jobOf(waiter), grantedAt: now }));
  if (granted.length === 0) return { state, granted };
  return {
    granted,
    state: {
      ...state,
      queue: state.queue.slice(granted.length),
      holders: [...state.holders, ...granted],
      granted: state.granted + granted.length,
    },
  };
}

/** Why a waiting job gets no slot even when one is free; null when it gets the next. */
function whyNot({ strains }: AdmissionState, { critical }: Waiter): string | null {
  return critical ? null : restriction(strains);
}

/** Up to this place a waiting job is told every change. */
const exactPlaces = 5;

/**
 * Whether a place is worth a signal. Behind the first places only halving or doubling is: telling everyone every move
 * would cost a queue of n jobs n² signals, each an entry in two histories.
 */
function isNews(told: number, place: number): boolean {
  if (told === 0) return true;
  if (place <= exactPlaces) return place !== told;
  return place * 2 <= told || place >= told * 2;
}

/** Those whose place in the queue, or prospect, has changed enough since they were told last, with the new one. */
export function movedPositions(state: AdmissionState): {
  state: AdmissionState;
  moved: { job: Waiter; position: number; why: string | null }[];
} {
  const moved = state.queue
    .map((job, i) => ({ job, position: i + 1, why: whyNot(state, job) }))
    .filter(({ job, position, why }) => isNews(job.toldPosition, position) || why !== (job.toldWhy ?? null));
  if (moved.length === 0) return { state, moved };
  const told = new Map(moved.map(({ job, position, why }) => [job, { toldPosition: position, toldWhy: why }]));
  return { moved, state: { ...state, queue: state.queue.map((j) => ({ ...j, ...told.get(j) })) } };
}

/** Changes what is under strain. */
export function strain(state: AdmissionState, change: (strains: Strain[]) => Strain[]): AdmissionState {
  const strains = change(state.strains);
  return strains === state.strains ? state : { ...state, strains };
}

/** True when the job holds a slot or waits for one. */
export function isKnown(state: AdmissionState, job: Pick<Job, 'workflowId' | 'runId'>): boolean {
  return [...state.holders, ...state.queue].some(isSame(job));
}

/** True when the job holds a slot: one that asks again has missed its grant. */
export function isHolder(state: AdmissionState, job: Pick<Job, 'workflowId' | 'runId'>): boolean {
  return state.holders.some(isSame(job));
}

/** Changes the number of slots. Fewer than are taken: nobody loses one, nobody new gets one until it fits. */
export function resize(state: AdmissionState, slots: number): AdmissionState {
  return state.slots === slots ? state : { ...state, slots };
}

export function setMode(
  state: AdmissionState,
  mode: 'running' | 'paused' | 'draining',
  by: { operator: string; reason: string },
): AdmissionState {
  return settleDrain({ ...state, mode, modeSetBy: by });
}

function settleDrain(state: AdmissionState): AdmissionState {
  return state.mode === 'draining' && state.holders.length === 0 ? { ...state, mode: 'drained' } : state;
}
