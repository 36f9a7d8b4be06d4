import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import type { Worker } from 'node:worker_threads';
import { Failure, isFailure } from '../policies/failure.ts';
import { isWithin } from '../policies/within.ts';

/**
 * A call to a file system may never return, such as one to a mount whose server has gone, and nothing brings back the
 * thread that made it. So calls to what is backed up, and to a folder restored into, are made by threads that may be lost,
 * are waited for this long, and what hangs is asked nothing more until it has answered.
 */
let silentMaxMs = 5 * 60_000;
/** So much longer for work of many calls, or that waits for the disk to write all it was given. */
const slowTimes = 12;
let silentSlowMaxMs = slowTimes * silentMaxMs;
/** Looked at so often within that time: a process that stood still meanwhile has missed looks, not answers. */
const looks = 10;

/** Has whatever is begun from now on be waited for so long, in milliseconds; slow work for longer. */
export function limitSilence(ms: number, slowMs = slowTimes * ms): void {
  silentMaxMs = ms;
  silentSlowMaxMs = slowMs;
}

/** Work that is waited for. */
export interface UnderWay {
  /** The same for the same work. */
  id: unknown;
  isSlow?: boolean;
}

/**
 * Calls back, once, when the same work has been under way for too long.
 *
 * @param underWay names the work, and is undefined while there is none
 * @param onSilent is told for how long it was waited for, in milliseconds
 * @param maxMs where less than usual is long enough
 * @returns ends the watch
 */
export function watchSilence(
  underWay: () => UnderWay | undefined,
  onSilent: (ms: number) => void,
  maxMs = Number.POSITIVE_INFINITY,
): () => void {
  const ms = Math.min(silentMaxMs, maxMs);
  const slowMs = Math.max(ms, silentSlowMaxMs);
  let last: unknown;
  let same = 0;
  const timer = setInterval(() => {
    const now = underWay();
    same = now !== undefined && now.id === last ? same + 1 : 0;
    last = now?.id;
    const limitMs = now?.isSlow ? slowMs : ms;
    if (same < (looks * limitMs) / ms) return;
    clearInterval(timer);
    onSilent(limitMs);
  }, ms / looks).unref();
  return () => clearInterval(timer);
}

interface Hanging {
  path: string;
  since: string;
}

const hanging = new Set<Hanging>();

/** Notes that a call about a path hangs, until it has returned after all. Returns what it has failed of. */
export function noteHanging(path: string, ms: number, returned: Promise<unknown>): Failure {
  const one = { path, since: new Date().toISOString() };
  hanging.add(one);
  const forget = () => void hanging.delete(one);
  returned.then(forget, forget);
  return unanswered(`${path} does not answer: a call to its file system has not returned for ${ms / 1000} s.`);
}

/** When a thread that hangs says something again, or is no more. */
export async function signOf(thread: Worker): Promise<void> {
  await Promise.race([once(thread, 'message'), once(thread, 'exit')]);
}

function hangingAt(folder: string): Hanging | undefined {
  return [...hanging].find(({ path }) => isWithin(path, folder) || isWithin(folder, path));
}

/** Whether no call about something within the folder, or above it, hangs. */
export function answers(folder: string): boolean {
  return hangingAt(folder) === undefined;
}

/** Throws SourceUnreachable where the folder does not answer. */
export function assertAnswers(folder: string): void {
  const found = hangingAt(folder);
  if (found) throw unanswered(`${folder} is asked nothing: ${found.path} does not answer since ${found.since}.`);
}

/**
 * Asks whether a folder to restore into is there, in vain or not. Throws TargetUnusable when nothing has come within the
 * time, and at once while what was asked then still hangs.
 *
 * @param look for tests
 */
export async function assertTargetAnswers(
  folder: string,
  ms = 30_000,
  look: (folder: string) => Promise<unknown> = stat,
): Promise<void> {
  try {
    assertAnswers(folder);
    // That it is not there is an answer as well; what to make of it is for whoever writes there.
    const answer = look(folder).catch(() => {});
    const silence = Promise.withResolvers<never>();
    const stop = watchSilence(
      () => ({ id: folder }),
      (waitedMs) => silence.reject(noteHanging(folder, waitedMs, answer)),
      ms,
    );
    await Promise.race([answer, silence.promise]).finally(stop);
  } catch (error) {
    throw asTargetSilence(error);
  }
}

/** What says that something does not answer, as of a folder to restore into, where trying again by itself is no help. */
export function asTargetSilence(error: unknown): unknown {
  if (!isFailure(error, 'SourceUnreachable')) return error;
  const next = 'See what is mounted there (stat -f, dmesg), or restore elsewhere. What was written there stays.';
  return new Failure('TargetUnusable', error.message, { next, cause: error });
}

function unanswered(what: string): Failure {
  return new Failure('SourceUnreachable', what, {
    next: 'See whether what is mounted there still answers (stat -f, dmesg); it is tried again by itself, and goes on once it does.',
  });
}
