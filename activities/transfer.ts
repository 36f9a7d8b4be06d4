import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { log } from '@temporalio/activity';
import { parseBackupJson } from '../engine/artifact/index.ts';
import {
  bytesSource,
  fileSource,
  type PutOptions,
  readBytes,
  type Store,
  type StoredObject,
  verifyObject,
} from '../engine/stores/index.ts';
import { placeWayOut } from '../engine/way-out/index.ts';
import type { BackupPlan, PlannedCopy } from '../policies/backup-plan.ts';
import { Failure, isFailure } from '../policies/failure.ts';
import { lockProblem, lockUntil } from '../policies/lock.ts';
import type { Policy } from '../policies/policy.ts';
import { type BackupJson, backupJsonName, pointPrefix, type SealedObject } from '../policies/recovery-point.ts';
import { type ActivityTools, runActivity } from './failure.ts';
import { readStaged, stagedDir } from './staging.ts';

/** What a transfer worker is given: store credentials that put and get; they delete nothing. No key of any kind. */
export interface TransferDependencies {
  policy: Policy;
  store(copy: string): Promise<Store>;
}

export interface CopyTarget {
  plan: BackupPlan;
  copy: string;
}

export type TransferActivities = ReturnType<typeof createTransferActivities>;

export function createTransferActivities(deps: TransferDependencies) {
  const { policy } = deps;
  const trusted = policy.keys.trusted;
  const staged = ({ plan }: CopyTarget, name: string) => path.join(stagedDir(policy.staging.path, plan), name);
  const keyOf = ({ plan }: CopyTarget, name: string) => pointPrefix(plan.source, plan.pointId) + name;
  const metadata = (backup: BackupJson) => ({
    'backup-date': backup.capturedAt,
    'db-name': String(backup.facts.database ?? backup.source.name),
  });

  async function stagedBackup(target: CopyTarget): Promise<BackupJson> {
    return parseBackupJson(Buffer.from(await readStaged(policy.staging.path, target.plan, backupJsonName)), trusted);
  }

  return {
    /** Puts every sealed object but backup.json, going on where an attempt that died had got to. */
    uploadCopy: (target: CopyTarget): Promise<void> =>
      runActivity('upload', async ({ signal, report, previous }) => {
        const store = await deps.store(target.copy);
        const lock = await lockOptions(store, target);
        const backup = await stagedBackup(target);
        const bytesTotal = backup.objects.reduce((sum, o) => sum + o.bytes, 0);
        const resume = { ...previous?.resume };
        let before = 0;
        for (const object of backup.objects) {
          await store.put(keyOf(target, object.name), fileSource(staged(target, object.name), object), {
            metadata: metadata(backup),
            ...lock,
            signal,
            ...(resume[object.name] === undefined ? {} : { resume: resume[object.name] }),
            onProgress: (p) => {
              const isNew = resume[object.name] !== p.resume;
              resume[object.name] = p.resume;
              report({ bytesDone: before + p.bytesDone, bytesTotal, ...(isNew ? { resume: { ...resume } } : {}) });
            },
          });
          before += object.bytes;
        }
      }),

    /** Reads every object back from the store, whole, and compares it with what was sealed; looks at its lock. */
    verifyCopy: (target: CopyTarget): Promise<void> =>
      runActivity('verify', async (tools) => {
        const store = await deps.store(target.copy);
        const { objects } = await stagedBackup(target);
        await verifyObjects(store, objects, (name) => keyOf(target, name), tools);
        if (!plannedCopy(target)?.lock) return;
        for (const { name } of objects) assertLocked(target, store.name, await store.head(keyOf(target, name)));
      }),

    /**
     * Puts backup.json, which makes the point exist there, once the way out lies there: nobody must need this software
     * for a point that exists, nor miss a point that it needs. Returns when that was, by the store's clock.
     */
    publishCopy: (target: CopyTarget): Promise<{ publishedAt: string }> =>
      runActivity('publish', async ({ signal }) => {
        const store = await deps.store(target.copy);
        const backup = await stagedBackup(target);
        const source = bytesSource(await readFile(staged(target, backupJsonName)));
        await assertChain(store, backup, trusted);
        const lock = await lockOptions(store, target);
        await placeWayOut(store, { ...lock, signal });
        const stored = await store.put(keyOf(target, backupJsonName), source, {
          metadata: metadata(backup),
          ...lock,
          signal,
        });
        assertLocked(target, store.name, stored);
        return { publishedAt: stored.modifiedAt };
      }),
  };
}

/** Throws ChainBroken unless all that a point needs exists in the store. */
async function assertChain(store: Store, backup: BackupJson, trusted: string[]): Promise<void> {
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
async function lockOptions(store: Store, target: CopyTarget): Promise<Pick<PutOptions, 'lock'>> {
  const planned = plannedCopy(target);
  if (!planned?.lock) return {};
  if (!(await store.capabilities()).lock) {
    throw new Failure('CapabilityMissing', `${store.name} has no Object Lock, which the policy asks for.`, {
      next: 'Name a bucket that was made with Object Lock, or take lock out of the policy of this copy.',
    });
  }
  const { lock, deadlineMs } = planned;
  return { lock: { mode: lock.mode, until: lockUntil(lock, deadlineMs, Date.now()) } };
}

function assertLocked(target: CopyTarget, store: string, stored: StoredObject): void {
  const lock = plannedCopy(target)?.lock;
  const problem = lock ? lockProblem(lock, stored) : null;
  if (problem === null) return;
  throw new Failure('CapabilityMissing', `${stored.key} in ${store} is not as safe as promised: ${problem}.`, {
    next: 'Is this machine’s clock right (backupctl doctor)? May its credentials read locks (s3:GetObjectRetention)?',
  });
}

async function verifyObjects(
  store: Store,
  objects: SealedObject[],
  keyOf: (name: string) => string,
  { signal, report }: ActivityTools,
): Promise<void> {
  const bytesTotal = objects.reduce((sum, o) => sum + o.bytes, 0);
  let before = 0;
  for (const object of objects) {
    const verify = () =>
      verifyObject(store, keyOf(object.name), object, {
        signal,
        onProgress: (bytesDone) => report({ bytesDone: before + bytesDone, bytesTotal }),
      });
    try {
      await verify();
    } catch (error) {
      if (!isFailure(error, 'ChecksumMismatch')) throw error;
      // Once more, for it may have happened on the way; what lies there is written once, and does not mend.
      log.warn('read back otherwise than sealed; reading it once more', { key: keyOf(object.name), copy: store.name });
      await verify().catch((again: unknown) => {
        if (!isFailure(again, 'ChecksumMismatch')) throw again;
        throw new Failure('Corrupt', again.message, { next: again.next });
      });
    }
    before += object.bytes;
  }
}
