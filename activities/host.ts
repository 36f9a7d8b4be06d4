import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Context, log } from '@temporalio/activity';
import {
  type Base,
  keepReference,
  openReference,
  referenceDir,
  type SigningKey,
  sealPoint,
  signBackupJson,
} from '../engine/artifact/index.ts';
import { withHooks } from '../engine/sources/hooks.ts';
import type { Source } from '../engine/sources/source.ts';
import type { BackupPlan } from '../policies/backup-plan.ts';
import { divergence, fullInstead, isChainable } from '../policies/chain.ts';
import { sourcePolicy } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import {
  backupJsonName,
  type Level,
  type SealedPoint,
  type SourceFacts,
  sealedPoint,
  storedBytes,
  type Validation,
} from '../policies/recovery-point.ts';
import { runActivity } from './failure.ts';
import { readStaged, stagedDir } from './staging.ts';

/** What a backup host's worker is given. It has public recipients and the signing key: it can seal, not open. */
export interface HostDependencies {
  policy: Policy;
  source(name: string): Promise<Source>;
  signingKey(): Promise<SigningKey>;
  /** Name and version that wrote the point, e.g. `backup-coordinator 0.1.0`. */
  software: string;
  isRunning(workflowId: string, runId: string): Promise<boolean>;
}

/** What sealing brought, in a few numbers. */
export interface SealOutcome {
  /** Full, when there was nothing to compare with after all. */
  level: Level;
  sourceBytes: number;
  storedBytes: number;
  entries: number;
  warnings: string[];
}

export type HostActivities = ReturnType<typeof createHostActivities>;

const sealedName = 'sealed.json';
const ownerName = 'owner.json';
const warningsName = 'warnings.json';

export function createHostActivities(deps: HostDependencies) {
  const { policy } = deps;
  const pointDir = (plan: Pick<BackupPlan, 'source' | 'pointId'>) => stagedDir(policy.staging.path, plan);

  return {
    /**
     * Reads the source once and seals it onto the staging disk. A second attempt that finds the point sealed returns
     * it; one that finds it half done begins afresh, for a dump or a walk cannot be taken up in its middle.
     */
    sealPoint: (plan: BackupPlan): Promise<SealOutcome> =>
      runActivity('seal', async ({ signal, report }) => {
        const dir = pointDir(plan);
        const done = await readSealed(dir);
        if (done) return outcome(done, await readWarnings(dir));
        await removeAbandoned(policy.staging.path, deps.isRunning);
        await rm(dir, { recursive: true, force: true });
        await mkdir(dir, { recursive: true, mode: 0o700 });
        const { workflowExecution } = Context.current().info;
        await writeFile(path.join(dir, ownerName), JSON.stringify(workflowExecution), { mode: 0o600 });
        const scratchDir = path.join(dir, '.scratch');
        await mkdir(scratchDir, { mode: 0o700 });

        const source = await deps.source(plan.source);
        const probe = await source.probe();
        report({ bytesTotal: probe.estimatedBytes });
        const notes: string[] = [];
        const base = await findBase(plan, probe.facts, (why) => notes.push(why));
        const sealed = await withHooks(sourcePolicy(policy, plan.source), signal, () =>
          sealPoint({
            dir,
            point: {
              id: plan.pointId,
              source: { name: plan.source, kind: plan.kind, host: plan.host },
              level: base ? plan.level : 'full',
              parent: base?.id ?? null,
              classes: plan.classes,
            },
            format: base ? 'blocks' : source.format,
            recipients: policy.keys.recipients,
            software: deps.software,
            signal,
            withReference: isChainable(plan.kind),
            others: base?.artifacts ?? [],
            seal: async (writer) => {
              const more = base ? { base } : {};
              const result = await source.seal(writer, { scratchDir, signal, onProgress: report, ...more });
              // For the attempt that finds the point sealed: sealed.json, which says so, is written after this.
              const warnings = JSON.stringify([...notes, ...result.warnings]);
              await writeFile(path.join(dir, warningsName), warnings, { mode: 0o600 });
              return result;
            },
          }),
        );
        await rm(scratchDir, { recursive: true, force: true });
        return outcome(sealed, await readWarnings(dir));
      }),

    /** Adds the validation to what was sealed, signs it, and lays backup.json beside it, ready to be published. */
    signPoint: (input: { plan: BackupPlan; validation: Validation }): Promise<void> =>
      runActivity('sign', async () => {
        const { plan, validation } = input;
        const sealed = sealedPoint.parse(JSON.parse(await readStaged(policy.staging.path, plan, sealedName)));
        const text = signBackupJson({ ...sealed, validation }, await deps.signingKey());
        await writeFile(path.join(pointDir(plan), backupJsonName), text, { mode: 0o600 });
      }),

    /**
     * Removes what the job staged. Of a point that was published it keeps what the next one can be compared with.
     * Idempotent.
     */
    discardStaging: (input: Pick<BackupPlan, 'source' | 'pointId'> & { published?: boolean }): Promise<void> =>
      runActivity('discard', async () => {
        const dir = pointDir(input);
        if (input.published) await keepReference(policy.staging.path, { ...input, from: dir });
        await rm(dir, { recursive: true, force: true });
      }),
  };

  /** What the point is compared with; null for a full one. */
  async function findBase(
    plan: BackupPlan,
    facts: SourceFacts,
    onMissing: (why: string) => void,
  ): Promise<Base | null> {
    if (!plan.parent) return null;
    const { pointId, manifest } = plan.parent;
    const dir = referenceDir(policy.staging.path, { source: plan.source, pointId });
    const found = await openReference(dir, { id: pointId, manifest });
    const other = 'problem' in found ? null : divergence(plan.kind, found.facts, facts);
    if (!('problem' in found) && other === null) return found;
    const why = 'problem' in found ? found.problem : `${pointId} cannot be built upon, for ${other}`;
    onMissing(fullInstead(plan.level, why));
    return null;
  }
}

function outcome(sealed: SealedPoint, warnings: string[]): SealOutcome {
  return {
    level: sealed.level,
    sourceBytes: sealed.content.sourceBytes,
    storedBytes: storedBytes(sealed),
    entries: sealed.content.entries,
    warnings,
  };
}

async function readWarnings(dir: string): Promise<string[]> {
  return JSON.parse(await readFile(path.join(dir, warningsName), 'utf8'));
}

async function readSealed(dir: string): Promise<SealedPoint | null> {
  let text: string;
  try {
    text = await readFile(path.join(dir, sealedName), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  return sealedPoint.parse(JSON.parse(text));
}

/** Removes staged points whose job is no longer running, e.g. because it was terminated. */
async function removeAbandoned(staging: string, isRunning: HostDependencies['isRunning']): Promise<void> {
  await mkdir(staging, { recursive: true, mode: 0o700 });
  for (const source of await readdir(staging, { withFileTypes: true })) {
    if (!source.isDirectory() || source.name.startsWith('.')) continue;
    for (const point of await readdir(path.join(staging, source.name))) {
      const dir = path.join(staging, source.name, point);
      const owner = await readOwner(dir);
      // A folder without an owner may be one that a job is making at this moment.
      const abandoned = owner ? !(await isRunning(owner.workflowId, owner.runId)) : await isOld(dir);
      if (!abandoned) continue;
      log.warn('removing what a job that is gone had staged', { dir });
      await rm(dir, { recursive: true, force: true });
    }
  }
}

const ownerlessGraceMs = 10 * 60_000;

async function isOld(dir: string): Promise<boolean> {
  const { mtimeMs } = await stat(dir);
  return Date.now() - mtimeMs > ownerlessGraceMs;
}

async function readOwner(dir: string): Promise<{ workflowId: string; runId: string } | null> {
  try {
    return JSON.parse(await readFile(path.join(dir, ownerName), 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
