import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseBackupJson } from '../engine/artifact/index.ts';
import { bytesSource, fileSource, type Store, verifyObject } from '../engine/stores/index.ts';
import { placeWayOut } from '../engine/way-out/index.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import type { Policy } from '../policies/policy.ts';
import { type BackupJson, backupJsonName, pointPrefix, type SealedObject } from '../policies/recovery-point.ts';
import { type ActivityTools, runActivity } from './failure.ts';

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
  const staged = ({ plan }: CopyTarget, name: string) =>
    path.join(policy.staging.path, pointPrefix(plan.source, plan.pointId), name);
  const keyOf = ({ plan }: CopyTarget, name: string) => pointPrefix(plan.source, plan.pointId) + name;
  const metadata = (backup: BackupJson) => ({
    'backup-date': backup.capturedAt,
    'db-name': String(backup.facts.database ?? backup.source.name),
  });

  async function stagedBackup(target: CopyTarget): Promise<BackupJson> {
    return parseBackupJson(await readFile(staged(target, backupJsonName)), trusted);
  }

  return {
    /** Puts every sealed object but backup.json, going on where an attempt that died had got to. */
    uploadCopy: (target: CopyTarget): Promise<void> =>
      runActivity('upload', async ({ signal, report, previous }) => {
        const store = await deps.store(target.copy);
        const backup = await stagedBackup(target);
        const bytesTotal = backup.objects.reduce((sum, o) => sum + o.bytes, 0);
        const resume = { ...previous?.resume };
        let before = 0;
        for (const object of backup.objects) {
          await store.put(keyOf(target, object.name), fileSource(staged(target, object.name), object), {
            metadata: metadata(backup),
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

    /** Reads every object back from the store, whole, and compares it with what was sealed. */
    verifyCopy: (target: CopyTarget): Promise<void> =>
      runActivity('verify', async (tools) => {
        const store = await deps.store(target.copy);
        const { objects } = await stagedBackup(target);
        await verifyObjects(store, objects, (name) => keyOf(target, name), tools);
      }),

    /**
     * Puts backup.json, which makes the point exist there, once the way out lies there: nobody must need this software
     * for a point that exists. Returns when that was, by the store's clock.
     */
    publishCopy: (target: CopyTarget): Promise<{ publishedAt: string }> =>
      runActivity('publish', async ({ signal }) => {
        const store = await deps.store(target.copy);
        const backup = await stagedBackup(target);
        const source = bytesSource(await readFile(staged(target, backupJsonName)));
        await placeWayOut(store, signal);
        const stored = await store.put(keyOf(target, backupJsonName), source, { metadata: metadata(backup), signal });
        return { publishedAt: stored.modifiedAt };
      }),
  };
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
    await verifyObject(store, keyOf(object.name), object, {
      signal,
      onProgress: (bytesDone) => report({ bytesDone: before + bytesDone, bytesTotal }),
    });
    before += object.bytes;
  }
}
