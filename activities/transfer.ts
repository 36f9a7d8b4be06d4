import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { CancelledFailure, log } from '@temporalio/activity';
import { followSealing, parseBackupJson, SealingGone } from '../engine/artifact/index.ts';
import {
  bytesSource,
  fileSource,
  type PendingPut,
  type PutOptions,
  type ReadBack,
  readBytes,
  type Store,
  type StoredObject,
  type VerifyObjectOptions,
  verifyObject,
} from '../engine/stores/index.ts';
import { placeWayOut } from '../engine/way-out/index.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { impossibleClaim } from '../policies/claims.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { lockProblem, lockUntil } from '../policies/lock.ts';
import type { Policy } from '../policies/policy.ts';
import { type BackupJson, backupJsonName, pointPrefix, type SealedObject } from '../policies/recovery-point.ts';
import type { SendingAhead } from '../workflows/contracts.ts';
import { type ActivityTools, runActivity } from './failure.ts';
import { readStaged, stagedDir } from './staging.ts';

/** What a transfer worker is given: store credentials that put and get; they delete nothing. No key of any kind. */
export interface TransferDependencies {
  policy: Policy;
  store(copy: string): Promise<Store>;
  /** Tells the job that calls, before anything of a copy is in its store. */
  tellSending(sending: SendingAhead): Promise<void>;
}

export interface CopyTarget {
  plan: BackupPlan;
  copy: string;
  /** It was sent before, in part, until the source's hours were over. */
  again?: boolean;
}

/** How far reading a copy back had come: all before this object, and so much of it. */
export interface CopyReadBack extends ReadBack {
  object: string;
}

export type TransferActivities = ReturnType<typeof createTransferActivities>;

export function createTransferActivities(deps: TransferDependencies) {
  const { policy } = deps;
  const trusted = policy.keys.trusted;
  const staged = ({ plan }: CopyTarget, name: string) => path.join(stagedDir(policy.staging.path, plan), name);
  const keyOf = ({ plan }: CopyTarget, name: string) => pointPrefix(plan.source, plan.pointId) + name;
  /** The same for all objects of a point; the first of them are made before it is sealed. */
  const metadata = ({ plan }: CopyTarget) => {
    const source = policy.sources.find((s) => s.name === plan.source);
    const database = source?.kind === 'postgres-logical' ? source.connection.database : plan.source;
    return { 'backup-date': plan.plannedAt, 'db-name': database };
  };

  async function stagedBackup(target: CopyTarget): Promise<BackupJson> {
    return parseBackupJson(Buffer.from(await readStaged(policy.staging.path, target.plan, backupJsonName)), trusted);
  }

  return {
    /**
     * Sends the artifact ahead while it is being sealed, without making it visible; resolves when it is sealed and all of
     * it is there. When sealing begins afresh, so does this. The job is told before the first byte goes, so that it knows
     * what is to be taken back. Null: nothing of it was sent, and it goes with the rest; it is small, or was not begun in
     * time.
     */
    sendArtifact: (target: CopyTarget): Promise<PendingPut | null> =>
      runActivity(
        'send',
        async ({ signal, report, previous, attempt }) => {
          const store = await deps.store(target.copy);
          const lock = await lockOptions(store, plannedCopy(target));
          const begun = await tokensOf(store, keyOf(target, ''), { previous, ...target });
          let isTold = previous?.resume !== undefined;
          for (;;) {
            const artifact = await followSealing(staged(target, ''), { signal, beginsWithinMs });
            if (!artifact) return null;
            const key = keyOf(target, artifact.name);
            try {
              const whole = await artifact.reach(sentAheadMin, signal);
              if (whole && whole.bytes <= sentAheadMin) return null;
              if (!isTold) await deps.tellSending({ copy: target.copy });
              isTold = true;
              // An attempt that died may have followed another sealing, of a full point instead of an incremental one.
              if (attempt > 1 || target.again) await abortPending(store, keyOf(target, ''), { but: key });
              let resume = begun[artifact.name];
              return await store.beginPut(key, artifact, {
                metadata: metadata(target),
                ...lock,
                signal,
                ...(resume === undefined ? {} : { resume }),
                onProgress: ({ bytesDone, bytesTotal, resume: token }) => {
                  report({
                    bytesDone,
                    bytesTotal,
                    ...(token === resume ? {} : { resume: { [artifact.name]: token } }),
                  });
                  resume = token;
                },
              });
            } catch (error) {
              if (!(error instanceof SealingGone)) throw error;
              if (isTold) await abortPending(store, keyOf(target, ''));
            } finally {
              await artifact.close();
            }
          }
        },
        whenWaiting,
      ),

    /**
     * Puts every sealed object but backup.json, going on where an attempt that died or was paused had got to. An artifact that was sent
     * ahead is only made visible.
     */
    uploadCopy: (target: CopyTarget & { sent?: PendingPut | null }): Promise<void> =>
      runActivity('upload', async ({ signal, report, previous }) => {
        const store = await deps.store(target.copy);
        const lock = await lockOptions(store, plannedCopy(target));
        const backup = await stagedBackup(target);
        const bytesTotal = backup.objects.reduce((sum, o) => sum + o.bytes, 0);
        const resume = await tokensOf(store, keyOf(target, ''), { previous, ...target });
        let before = 0;
        for (const object of backup.objects) {
          const key = keyOf(target, object.name);
          const options: PutOptions = {
            metadata: metadata(target),
            ...lock,
            signal,
            ...(resume[object.name] === undefined ? {} : { resume: resume[object.name] }),
            onProgress: (p) => {
              const isNew = resume[object.name] !== p.resume;
              resume[object.name] = p.resume;
              report({ bytesDone: before + p.bytesDone, bytesTotal, ...(isNew ? { resume: { ...resume } } : {}) });
            },
          };
          const source = fileSource(staged(target, object.name), object);
          const sent = target.sent?.key === key && target.sent.sha256 === object.sha256 ? target.sent : null;
          if (sent === null || !(await completeSent(store, sent, options))) await store.put(key, source, options);
          before += object.bytes;
        }
      }),

    /**
     * Reads every object back from the store, whole, and compares it with what was sealed; looks at its lock. One that is
     * cancelled ends with how far it had come, from where another goes on: what was read is not read again.
     */
    verifyCopy: (target: CopyTarget & { from?: CopyReadBack }): Promise<void> =>
      runActivity('verify', async (tools) => {
        const store = await deps.store(target.copy);
        const { objects } = await stagedBackup(target);
        const place = { keyOf: (name: string) => keyOf(target, name), fileOf: (name: string) => staged(target, name) };
        await verifyObjects(store, objects, { ...place, from: target.from }, tools);
        if (!plannedCopy(target)?.lock) return;
        for (const { name } of objects)
          assertLocked(plannedCopy(target), store.name, await store.head(keyOf(target, name)));
      }),

    /**
     * Puts backup.json, which makes the point exist there, once the way out lies there: nobody must need this software
     * for a point that exists, nor miss a point that it needs; nor one that would not count, for it says to be of the
     * future. Returns when that was, by the store's clock.
     */
    publishCopy: (target: CopyTarget): Promise<{ publishedAt: string }> =>
      runActivity('publish', async ({ signal, attempt }) => {
        const store = await deps.store(target.copy);
        const backup = await stagedBackup(target);
        const source = bytesSource(await readFile(staged(target, backupJsonName)));
        await assertChain(store, backup, trusted);
        await assertOfToday(store, backup);
        const lock = await lockOptions(store, plannedCopy(target));
        await placeWayOut(store, { ...lock, signal, again: attempt > 1 });
        const stored = await store.put(keyOf(target, backupJsonName), source, {
          metadata: metadata(target),
          ...lock,
          signal,
        });
        assertLocked(plannedCopy(target), store.name, stored);
        return { publishedAt: stored.modifiedAt };
      }),
  };
}

/** Throws ValidationFailed for what was captured when the store's clock has not come to yet. */
async function assertOfToday(store: Store, backup: BackupJson): Promise<void> {
  const now = await store.clock();
  if (impossibleClaim(backup, now) === null) return;
  throw new Failure(
    'ValidationFailed',
    `${backup.id} was captured at ${backup.capturedAt}, it says, but in ${store.name} it is only ${now}: a clock is wrong.`,
    {
      next: 'It was not published there. Set the clocks of the backup host and of the store by NTP, then run the backup again.',
    },
  );
}

/** A job whose sealing failed waits until what waits for it has heard of that. */
const whenWaiting = { everyMs: 2_000 };
/** Smaller artifacts are not worth requests of their own. */
const sentAheadMin = 16 * 1024 * 1024;
/** Sealing that takes longer to begin is not waited for: what it seals is sent after it. */
const beginsWithinMs = 10 * 60_000;

/**
 * What to go on with, by the name of the object: what an attempt that died had told, or what lies in the store of one that
 * was paused, which nobody but the store knows of.
 */
async function tokensOf(
  store: Store,
  prefix: string,
  { previous, again = false }: Pick<ActivityTools, 'previous'> & Pick<CopyTarget, 'again'>,
): Promise<Record<string, string>> {
  const tokens = { ...previous?.resume };
  if (!again || previous?.resume) return tokens;
  for await (const { key, token } of store.listPending(prefix)) tokens[key.slice(prefix.length)] = token;
  return tokens;
}

/** Takes back what was begun under the prefix, except for one key that can be gone on with. */
async function abortPending(store: Store, prefix: string, { but }: { but?: string } = {}): Promise<void> {
  for await (const pending of store.listPending(prefix)) if (pending.key !== but) await store.abortPut(pending);
}

/** Makes visible what was sent ahead. False when the store no longer has just that: then it is put as any object. */
async function completeSent(store: Store, sent: PendingPut, { lock }: PutOptions): Promise<boolean> {
  try {
    const { lockedUntil } = await store.completePut(sent);
    // It was begun before the point was sealed, which may have taken long.
    if (lock && !(Date.parse(lockedUntil ?? '') >= Date.parse(lock.until))) {
      await store.lock(sent.key, lock.mode, lock.until);
    }
    return true;
  } catch (error) {
    if (isFailure(error, 'ObjectMissing', 'ChecksumMismatch')) return false;
    throw error;
  }
}

/** Throws ChainBroken unless all that a point needs exists in the store. */
export async function assertChain(store: Store, backup: BackupJson, trusted: string[]): Promise<void> {
  const seen = new Set([backup.id]);
  for (let { parent } = backup; parent !== null && !seen.has(parent); ) {
    seen.add(parent);
    try {
      const key = pointPrefix(backup.source.name, parent) + backupJsonName;
      parent = parseBackupJson(await readBytes(store, key), trusted).parent;
    } catch (error) {
      if (!isFailure(error, 'ObjectMissing', 'SignatureInvalid', 'Corrupt')) throw error;
      throw new Failure('ChainBroken', `${backup.id} needs ${parent}, which ${store.name} does not hold.`, {
        next: 'It was not published there. The next backup is a full one, or is built upon a point that lies everywhere.',
        cause: error,
      });
    }
  }
}

function plannedCopy({ plan, copy }: CopyTarget): PlannedCopy | undefined {
  return plan.copies.find((c) => c.name === copy);
}

/** Throws CapabilityMissing where the store cannot lock and the policy asks for it. */
export async function lockOptions(store: Store, planned?: PlannedCopy): Promise<Pick<PutOptions, 'lock'>> {
  if (!planned?.lock) return {};
  if (!(await store.capabilities()).lock) {
    throw new Failure('CapabilityMissing', `${store.name} has no Object Lock, which the policy asks for.`, {
      next: 'Name a bucket that was made with Object Lock, or take lock out of the policy of this copy.',
    });
  }
  const { lock, deadlineMs } = planned;
  return { lock: { mode: lock.mode, until: lockUntil(lock, deadlineMs, Date.now()) } };
}

export function assertLocked(planned: PlannedCopy | undefined, store: string, stored: StoredObject): void {
  const lock = planned?.lock;
  const problem = lock ? lockProblem(lock, stored) : null;
  if (problem === null) return;
  throw new Failure('CapabilityMissing', `${stored.key} in ${store} is not as safe as promised: ${problem}.`, {
    next: 'Is this machine’s clock right (backupctl doctor)? May its credentials read locks (s3:GetObjectRetention)?',
  });
}

async function verifyObjects(
  store: Store,
  objects: SealedObject[],
  {
    keyOf,
    fileOf,
    from,
  }: { keyOf(name: string): string; fileOf(name: string): string; from: CopyReadBack | undefined },
  { signal, report }: ActivityTools,
): Promise<void> {
  const bytesTotal = objects.reduce((sum, o) => sum + o.bytes, 0);
  const first = objects.findIndex((o) => o.name === from?.object);
  let before = 0;
  for (const [i, object] of objects.entries()) {
    const verify = (more: VerifyObjectOptions = {}) =>
      verifyObject(store, keyOf(object.name), object, {
        ...more,
        signal,
        onProgress: (bytesDone) => report({ bytesDone: before + bytesDone, bytesTotal }),
        onAborted: (reached) => {
          const until: CopyReadBack = { ...reached, object: object.name };
          throw new CancelledFailure('Reading back was ended.', [until]);
        },
      });
    if (i >= first) {
      const source = fileSource(fileOf(object.name), object);
      const begun = from && i === first ? { from: { reached: from, source } } : {};
      try {
        await verify(begun);
      } catch (error) {
        if (!isFailure(error, 'ChecksumMismatch')) throw error;
        // Once more, for it may have happened on the way; what lies there is written once, and does not mend.
        log.warn('read back otherwise than sealed; reading it once more', {
          key: keyOf(object.name),
          copy: store.name,
        });
        await verify().catch((again: unknown) => {
          if (!isFailure(again, 'ChecksumMismatch')) throw again;
          throw new Failure('Corrupt', again.message, { next: again.next });
        });
      }
    }
    before += object.bytes;
  }
}
