import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { log } from '@temporalio/activity';
import { assertSealedFor, openPoint, type PointReader, verifyPoint } from '../engine/artifact/index.ts';
import { reapInstances } from '../engine/sites/index.ts';
import type { Source } from '../engine/sources/source.ts';
import type { Store } from '../engine/stores/index.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { formatDuration } from '../policies/progress.ts';
import { type Check, type CheckName, type SealedPoint, storedBytes } from '../policies/recovery-point.ts';
import { judgeSize } from '../policies/size.ts';
import { runActivity } from './failure.ts';
import { stagedDir } from './staging.ts';

/** What a validation worker is given: an identity that opens points, and stores to read those that a new one needs. */
export interface ValidationDependencies {
  policy: Policy;
  source(name: string): Promise<Source>;
  identity(): Promise<string>;
  /** The staging disk, read as a store. */
  staging: Store;
  store(copy: string): Promise<Store>;
}

export type ValidationActivities = ReturnType<typeof createValidationActivities>;

export function createValidationActivities(deps: ValidationDependencies) {
  const { policy } = deps;
  const open = async (plan: BackupPlan): Promise<PointReader> =>
    openPoint({
      store: deps.staging,
      source: plan.source,
      id: plan.pointId,
      identity: await deps.identity(),
      sealed: true,
      ...(plan.parent ? { parents: { store: await deps.store(plan.parent.from), trusted: policy.keys.trusted } } : {}),
    });

  return {
    /** The checks that need no restore: integrity, size against history, encryption. */
    checkSealed: (plan: BackupPlan): Promise<Check[]> =>
      runActivity('check', async ({ signal, report }) => {
        const opened: { point?: PointReader } = {};
        const integrity = await timed('integrity', async () => {
          opened.point = await open(plan);
          const report_ = await verifyPoint(opened.point, { signal, onProgress: report, parents: 'look' });
          return {
            passed: report_.problems.length === 0,
            details: `${report_.objects} objects, ${report_.entries} entries and ${report_.blocks} blocks read and matched`,
            error: report_.problems.slice(0, 5).join('; '),
          };
        });
        const { point } = opened;
        if (!point) return [integrity];
        const size = await timed('size', async () => judgePoint(point.backup, plan));
        const encryption = await timed('encryption', () => assertSealedFor(point, policy.keys.recipients));
        return [integrity, size, encryption];
      }),

    /**
     * A real restore into an isolated place that is destroyed afterwards, and a comparison of all that came back. Stops
     * itself at the policy's limit, so that it is cleaned up before anybody hears that it failed: ValidationTimedOut.
     */
    testRestore: (plan: BackupPlan): Promise<Check[]> =>
      runActivity('test restore', async ({ signal, report }) => {
        const limit = AbortSignal.timeout(Math.min(plan.validationTimeoutMs, timerMaxMs));
        const isolated = path.join(policy.staging.path, '.validation');
        const workDir = path.join(isolated, plan.pointId);
        await removeAbandoned(isolated, policy);
        // What an attempt that was killed has left.
        await clean(workDir);
        try {
          const source = await deps.source(plan.source);
          return await source.testRestore(await open(plan), {
            workDir,
            signal: AbortSignal.any([signal, limit]),
            onProgress: report,
          });
        } catch (error) {
          if (!limit.aborted || signal.aborted) throw error;
          const allowed = formatDuration(plan.validationTimeoutMs);
          throw new Failure('ValidationTimedOut', `The test restore of ${plan.pointId} was stopped after ${allowed}.`, {
            next: 'Nothing was published. See what made it slow, or raise limits.validationTimeout in the policy.',
            cause: error,
          });
        } finally {
          await clean(workDir);
        }
      }),
  };
}

/** What a full point stores; of others, which store as much as has changed, what they bring back. */
function judgePoint(point: SealedPoint, plan: BackupPlan): Judgement {
  if (point.level === 'full') return judgeSize(storedBytes(point), plan.sizeHistory);
  // A tree that holds no bytes is no empty point.
  const verdict = judgeSize(Math.max(1, point.content.sourceBytes), plan.contentHistory);
  return { ...verdict, details: `brings back ${verdict.details}` };
}

async function clean(workDir: string): Promise<void> {
  await reapInstances(workDir);
  await rm(workDir, { recursive: true, force: true });
}

/** Removes what tests of points have left that are staged no more: their jobs are over, and ended without cleaning up. */
async function removeAbandoned(isolated: string, { staging, sources }: Policy): Promise<void> {
  await mkdir(isolated, { recursive: true, mode: 0o711 });
  for (const pointId of await readdir(isolated)) {
    if (sources.some(({ name }) => existsSync(stagedDir(staging.path, { source: name, pointId })))) continue;
    log.warn('removing what a test restore had left', { pointId });
    await clean(path.join(isolated, pointId));
  }
}

/** Node's timers take no more. */
const timerMaxMs = 2 ** 31 - 1;

type Judgement = Pick<Check, 'passed' | 'details'> & { error?: string };

/** A check that fails because the data is bad says so; one that cannot be carried out throws, and is tried again. */
async function timed(check: CheckName, body: () => Promise<Judgement>): Promise<Check> {
  const from = performance.now();
  const durationMs = () => Math.round(performance.now() - from);
  try {
    const { passed, details, error } = await body();
    return { check, passed, details, ...(passed ? {} : { error: error ?? details }), durationMs: durationMs() };
  } catch (error) {
    const damage = ['Corrupt', 'KeyWrong', 'KeyMissing', 'FormatUnsupported', 'ObjectMissing', 'ChainBroken'] as const;
    if (isFailure(error, ...damage)) {
      return { check, passed: false, details: 'could not be read', error: error.message, durationMs: durationMs() };
    }
    throw error;
  }
}
