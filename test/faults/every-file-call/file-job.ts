import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { createHostActivities } from '../../../activities/host.ts';
import { createRecoveryActivities } from '../../../activities/recovery.ts';
import { createTransferActivities } from '../../../activities/transfer.ts';
import { createValidationActivities } from '../../../activities/validation.ts';
import { assertAnswers, limitSilence } from '../../../engine/answering.ts';
import { keepFrameThreads, openPoint, verifyPoint } from '../../../engine/artifact/index.ts';
import type { Catalog } from '../../../engine/catalog/index.ts';
import { createFilesSource } from '../../../engine/sources/index.ts';
import { createDirectoryStore, type PutSource, type Store } from '../../../engine/stores/index.ts';
import type { BackupPlan } from '../../../policies/backup-plan.ts';
import { failureTypes } from '../../../policies/failure.ts';
import { filesSource } from '../../../policies/policy.ts';
import type { Check } from '../../../policies/recovery-point.ts';
import { activityEnvironment } from '../../activities/environment.ts';
import { makePlace, noise } from '../../engine/artifact/sealing.ts';
import { signer, trusted } from '../../engine/catalog/points.ts';
import { policyOf } from '../../policies/policies.ts';
import { eventually } from '../../support/eventually.ts';
import { plan as usualPlan } from '../../workflows/stand-ins.ts';
import type { fileFaults, Kind, Planned } from './file-faults.ts';

export interface Outcome {
  /** What was called, in order. */
  calls: string[];
  /** Whether the fault that was planned came. */
  isStruck: boolean;
  /** Steps that failed, and what they said. */
  failures: string[];
  /** What is wrong, one line each. */
  problems: string[];
}

export interface FileJobs {
  /** Backs a small tree up into two folders and restores it, step by step as the workflow does. */
  run(planned: Planned | null): Promise<Outcome>;
  close(): Promise<void>;
}

const source = 'shop';
const copies = ['near', 'far'];
const signal = new AbortController().signal;

/** @param faults loaded before this module, so that it has its hands on all that this one uses */
export async function openFileJobs(faults: typeof fileFaults): Promise<FileJobs> {
  limitSilence(2_000, 2_000);
  // Starting them takes longer than all that they do here.
  keepFrameThreads(60_000);
  const place = await makePlace();
  // In memory, where there is such a place: syncing a file system waits for what everybody has written there.
  const dir = mkdtempSync(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'file-calls-'));
  let serial = 0;
  return {
    async run(planned) {
      const root = path.join(dir, `job-${++serial}`);
      for (const folder of ['tree/folder', 'staging', ...copies])
        mkdirSync(path.join(root, folder), { recursive: true });
      const tree = path.join(root, 'tree');
      writeFileSync(path.join(tree, 'large'), noise(40_000));
      writeFileSync(path.join(tree, 'folder/small'), 'a line\n'.repeat(100));
      writeFileSync(path.join(tree, 'folder/empty'), '');
      symlinkSync('large', path.join(tree, 'link'));
      const job = createJob(place, root, planned?.kind);
      try {
        faults.begin(root, planned);
        return await job();
      } finally {
        faults.end();
        rmSync(root, { recursive: true });
      }
    },
    async close() {
      keepFrameThreads(0);
      await place.remove();
      rmSync(dir, { recursive: true });
    },
  };

  function createJob({ identity, recipient }: Awaited<ReturnType<typeof makePlace>>, root: string, kind?: Kind) {
    const at = (...names: string[]) => path.join(root, ...names);
    const policy = policyOf({
      staging: { path: at('staging') },
      keys: { recipients: [recipient], signing: 'env:SIGNING', trusted, identity: 'env:IDENTITY' },
      sources: [{ name: source, kind: 'files', path: at('tree') }],
      copies: copies.map((name) => ({ kind: 'directory', name, region: name, path: at(name) })),
    });
    const files = createFilesSource(filesSource.parse(policy.sources[0]));
    const bare = new Map(copies.map((name) => [name, createDirectoryStore({ name, path: at(name) })]));
    const stores = new Map(bare).set('far', elsewhere(bare.get('far') as Store));
    const given = {
      policy,
      source: async () => files,
      store: async (name: string) => stores.get(name) as Store,
      identity: async () => identity,
    };
    const host = createHostActivities({
      ...given,
      signingKey: async () => signer,
      software: 'tests',
      isRunning: async () => true,
    });
    const staging = createDirectoryStore({ name: 'staging', path: at('staging') });
    const validation = createValidationActivities({ ...given, staging });
    const transfer = createTransferActivities({ ...given, tellSending: () => Promise.reject(new Error('too small')) });
    const recovery = createRecoveryActivities({
      ...given,
      catalog: {} as Catalog,
      resolveSecret: () => Promise.reject(new Error('no secret is asked for')),
    });
    const outcome: Outcome = { calls: [], isStruck: false, failures: [], problems: [] };
    const { failures, problems } = outcome;

    /** A step with its attempts, as Temporal makes them. Null: it has failed for good. */
    async function step<I, O>(name: string, activity: (input: I) => Promise<O>, input: I): Promise<O | null> {
      for (let attempt = 1; ; attempt++) {
        try {
          return (await activityEnvironment({ attempt }).run(activity, input)) as O;
        } catch (error) {
          failures.push(`${name}: ${(error as Error).message}`);
          const { type, nonRetryable } = error as ApplicationFailure;
          if (!(error instanceof ApplicationFailure && Object.hasOwn(failureTypes, type ?? '')))
            problems.push(`${name} fails as nobody foresaw: ${String(error)}`);
          if (nonRetryable || attempt === 3) return null;
        }
      }
    }

    async function backUp(pointId: string): Promise<boolean> {
      const plan: BackupPlan = {
        ...usualPlan,
        source,
        pointId,
        kind: 'files',
        plannedAt: new Date().toISOString(),
        copies: copies.map((name) => ({ name, deadlineMs: 60_000 })),
      };
      let isDone = false;
      const sealed = await step('sealPoint', host.sealPoint, plan);
      const checks: Check[] | null = sealed && (await step('checkSealed', validation.checkSealed, plan));
      const tests: Check[] | null = checks && (await step('testRestore', validation.testRestore, plan));
      const all = [...(checks ?? []), ...(tests ?? [])];
      for (const { check, error } of all.filter((c) => !c.passed)) failures.push(`${check}: ${error}`);
      if (tests && all.every((c) => c.passed)) {
        const passed = { finishedAt: new Date().toISOString(), passed: true, checks: all };
        isDone = (await step('signPoint', host.signPoint, { plan, validation: passed })) !== null;
        for (const copy of copies) {
          isDone =
            isDone &&
            (await step('uploadCopy', transfer.uploadCopy, { plan, copy })) !== null &&
            (await step('verifyCopy', transfer.verifyCopy, { plan, copy })) !== null &&
            (await step('publishCopy', transfer.publishCopy, { plan, copy })) !== null;
        }
      }
      await step('discardStaging', host.discardStaging, { source, pointId, published: isDone });
      return isDone;
    }

    return async (): Promise<Outcome> => {
      const isDone = await backUp('shop-1');
      // What hangs is asked nothing more until it answers.
      faults.release();
      await eventually(() => assertAnswers(at('tree')));
      // What failed for good is made once more, by another job.
      const pointId = isDone ? 'shop-1' : 'shop-2';
      if (!isDone && !(await backUp(pointId))) problems.push('the next backup fails as well');
      const asked = {
        ...{ source, pointId, from: 'near', operator: 'Ada', reason: 'a test' },
        into: { directory: at('restored') },
      };
      if ((await step('restorePoint', recovery.restorePoint, asked)) === null) {
        faults.release();
        await eventually(() => assertAnswers(at('restored')));
        await step('discardRestore', recovery.discardRestore, asked);
        const left = namesIn(root).includes('restored') ? namesIn(at('restored')) : [];
        if (left.length > 0) problems.push(`a restore that failed leaves ${left.join()}`);
        if ((await step('restorePoint', recovery.restorePoint, asked)) === null)
          problems.push('the next restore fails');
      }
      // Once more when it fails: what was restored stays.
      if ((await step('keepRestore', recovery.keepRestore, asked)) === null)
        await step('keepRestore', recovery.keepRestore, asked);
      outcome.calls = faults.calls();
      outcome.isStruck = faults.hasStruck();
      faults.end();
      const why = kind === 'hangs' ? /does not answer/ : /EIO|ENOSPC/;
      if (failures.some((said) => !why.test(said)))
        problems.push(`a failure does not say why: ${failures.join(' | ')}`);
      if (failures.some((said) => !said.includes(root) && !said.includes(source)))
        problems.push(`a failure does not say where: ${failures.join(' | ')}`);
      await look(pointId);
      return outcome;
    };

    async function look(pointId: string): Promise<void> {
      const staged = namesIn(at('staging')).filter((name) => !name.startsWith('.references'));
      if (staged.join() !== [source, '.validation'].sort().join()) problems.push(`staged: ${staged.join()}`);
      for (const [name, store] of bare) {
        for await (const { key } of store.listPending('')) problems.push(`${name}, under way: ${key}`);
        const reader = await openPoint({ store, source, id: pointId, identity, trusted });
        const { problems: found } = await verifyPoint(reader, { signal });
        problems.push(...found.map((problem) => `${name}: ${problem}`));
        const restored = name === 'near' ? await files.compare(reader, at('restored'), signal) : null;
        problems.push(...(restored?.differences ?? []).map((difference) => `restored otherwise: ${difference}`));
      }
    }
  }
}

const namesIn = (folder: string) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();

/** As if it lay on another disk: what it is given is copied, not linked. */
function elsewhere(store: Store): Store {
  return {
    ...store,
    put: (key, { bytes, sha256, open }: PutSource, options) => store.put(key, { bytes, sha256, open }, options),
  };
}
