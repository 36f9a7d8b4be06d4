import { type FoundDamage, findDamage, openPart, putAgain } from '../engine/repair/index.ts';
import type { PutOptions, Store } from '../engine/stores/index.ts';
import { placeWayOut } from '../engine/way-out/index.ts';
import type { PlannedCopy } from '../policies/backup-plan.ts';
import { Failure } from '../policies/failure.ts';
import { lockUntil, longestLockMs } from '../policies/lock.ts';
import type { Damage, Refusal, RepairPart } from '../policies/repair.ts';
import { runActivity } from './failure.ts';
import { refusing } from './refusing.ts';
import { storesOf } from './stores-of.ts';
import { assertChain, assertLocked, lockOptions, type TransferDependencies } from './transfer.ts';

/** Where to look, and behind which key to begin. */
export interface DamageRequest {
  part: RepairPart;
  copy: string;
  after?: string;
}

/** Objects to put into a copy, each from another one. */
export interface ObjectsAgain {
  part: RepairPart;
  objects: Pick<Damage, 'key' | 'from'>[];
  to: PlannedCopy;
}

export type RepairActivities = ReturnType<typeof createRepairActivities>;

/** For transfer workers: they read back, and put. */
export function createRepairActivities(deps: Pick<TransferDependencies, 'policy' | 'store'>) {
  const { policy } = deps;
  const { trusted } = policy.keys;
  const copyNamed = (name: string) => policy.copies.find((c) => c.name === name);

  /** How an object is locked that is put again: as it would be if it were put for the first time. */
  async function lockOf(part: RepairPart, store: Store, to: PlannedCopy): Promise<Pick<PutOptions, 'lock'>> {
    if (part.kind === 'point') return lockOptions(store, to);
    const copy = copyNamed(to.name);
    if (part.kind === 'wal' || copy?.kind !== 's3' || copy.lock === undefined) return {};
    const { mode } = copy.lock;
    const keepMs = longestLockMs(policy, copy);
    return keepMs === 0 ? {} : { lock: { mode, until: lockUntil({ mode, keepMs }, to.deadlineMs, Date.now()) } };
  }

  return {
    /** Reads all that one copy holds of a part, whole, and names what is not as it must be; some at a time. */
    findDamage: ({ part: name, copy, after }: DamageRequest): Promise<FoundDamage> =>
      runActivity('examine', async ({ signal, report }) => {
        const [store, ...others] = await storesOf(deps, copy);
        const part = await openPart(name, [store, ...others], trusted);
        const bytesTotal = part.description?.backup.objects.reduce((sum, o) => sum + o.bytes, 0) ?? 0;
        return findDamage({
          part,
          store,
          others,
          ...(after === undefined ? {} : { after }),
          signal,
          onProgress: (bytesDone) => report({ bytesDone, bytesTotal }),
        });
      }),

    /**
     * Puts objects again where they are not there, each from a copy that has it good, and reads them back. A description
     * comes only where all that the point needs exists, as when it is published. Returns what could not be put.
     */
    putObjectsAgain: ({ part: name, objects, to }: ObjectsAgain): Promise<Refusal[]> =>
      runActivity('repair', async ({ signal, report, previous }) => {
        const stores = await storesOf(deps, to.name);
        const [store] = stores;
        const part = await openPart(name, stores, trusted);
        const lock = await lockOf(name, store, to);
        const resume = { ...previous?.resume };
        const from = new Map(objects.map((o) => [o.key, o.from]));
        let failed = false;
        return refusing([...from.keys()], async (key) => {
          const description = part.description?.key === key ? part.description : null;
          try {
            if (!part.owns(key)) {
              throw new Failure('UsageInvalid', `${key} is none of its objects.`, { next: 'Nothing was put.' });
            }
            if (description && failed) {
              throw new Failure('ChainBroken', `${key} would describe what is not whole.`, { next: 'It was not put.' });
            }
            if (description) {
              await assertChain(store, description.backup, trusted);
              await placeWayOut(store, { ...lock, signal });
            }
            await putAgain(
              { part, key, from: stores.find((s) => s.name === from.get(key)) ?? store, to: store },
              {
                ...lock,
                signal,
                ...(resume[key] === undefined ? {} : { resume: resume[key] }),
                onProgress: ({ resume: token, ...done }) => {
                  const isNew = resume[key] !== token;
                  resume[key] = token;
                  report({ ...done, ...(isNew ? { resume: { ...resume } } : {}) });
                },
              },
            );
            if (name.kind === 'point') {
              assertLocked(to, store.name, await store.head(key));
            }
          } catch (error) {
            failed = true;
            throw error;
          }
        });
      }),
  };
}
