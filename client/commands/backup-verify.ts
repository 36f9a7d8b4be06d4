import { Failure, type FailureType, failureTypes, isFailure } from '../../policies/failure.ts';
import type { Policy } from '../../policies/policy.ts';
import { formatBytes } from '../../policies/progress.ts';
import { backupJsonName, pointPrefix } from '../../policies/recovery-point.ts';
import type { Context } from '../context.ts';
import { copyPolicy, unknownPoint } from '../names.ts';
import { createProgressView } from '../progress.ts';

export interface VerifyOptions {
  id: string | undefined;
  all: boolean;
  copy?: string;
}

interface Target {
  pointId: string;
  source: string;
  copy: string;
}

/** What reading one copy of one point back has shown. */
interface Verified extends Target {
  good: boolean;
  objects: number;
  entries: number;
  blocks: number;
  bytes: number;
  problems: string[];
  /** Why it could not be read to its end; null when it could. */
  error: { type: FailureType; message: string; next: string } | null;
}

/**
 * Reads points back from their copies, here, with the identity: every object, segment, frame and block. Ends with 6
 * when anything is damaged, with 5 when something could not be read.
 */
export async function backupVerify(context: Context, options: VerifyOptions): Promise<number | undefined> {
  if (options.all === (options.id !== undefined)) {
    throw new Failure('UsageInvalid', 'Name the recovery point to verify, or ask for all of them.', {
      next: 'backupctl backup verify ID, or backupctl backup verify --all.',
    });
  }
  const policy = await context.policy();
  if (options.copy !== undefined) copyPolicy(policy, options.copy);
  const identity = await context.secret(policy.keys.identity);
  const targets = await targetsOf(context, policy, options);
  const verified: Verified[] = [];
  const { out } = context;
  const view = createProgressView(out);
  try {
    for (const target of targets) {
      verified.push(
        await verifyOne(context, policy, identity, target, (bytesDone, bytesTotal, entriesDone) => {
          if (out.live)
            view.show(`verifying ${target.pointId} in ${target.copy}`, [
              { name: 'read', bytesDone, bytesTotal, entriesDone },
            ]);
        }),
      );
    }
  } finally {
    view.end();
  }
  out.result(
    { verified },
    () => verified.map((v) => render(v, out.paint)).join('\n') || 'There is no recovery point to verify.',
  );
  if (verified.some((v) => v.problems.length > 0)) return failureTypes.Corrupt.exitCode;
  const failed = verified.find((v) => v.error !== null)?.error;
  return failed ? failureTypes[failed.type].exitCode : undefined;
}

async function verifyOne(
  context: Context,
  policy: Policy,
  identity: string,
  target: Target,
  onProgress: (bytesDone: number, bytesTotal: number, entriesDone: number) => void,
): Promise<Verified> {
  const { openPoint, verifyPoint } = await import('../../engine/artifact/index.ts');
  try {
    const reader = await openPoint({
      store: await context.store(target.copy),
      source: target.source,
      id: target.pointId,
      identity,
      trusted: policy.keys.trusted,
    });
    const report = await verifyPoint(reader, {
      signal: context.signal ?? new AbortController().signal,
      onProgress: (p) => onProgress(p.bytesDone, p.bytesTotal, p.entriesDone),
    });
    return { ...target, ...report, good: report.problems.length === 0, error: null };
  } catch (error) {
    if (!isFailure(error)) throw error;
    // What the sealed bytes themselves are to blame for is a finding; the rest is a reason to try again.
    const damage = [
      'Corrupt',
      'SignatureInvalid',
      'KeyMissing',
      'PointUnknown',
      'ObjectMissing',
      'ChainBroken',
    ] as const;
    const found = isFailure(error, ...damage);
    const { type, message, next } = error;
    return {
      ...target,
      good: false,
      objects: 0,
      entries: 0,
      blocks: 0,
      bytes: 0,
      problems: found ? [message] : [],
      error: found ? null : { type, message, next },
    };
  }
}

/** Each copy that should hold the point. Without the catalog, the stores are asked where a point of that id lies. */
async function targetsOf(context: Context, policy: Policy, { id, copy }: VerifyOptions): Promise<Target[]> {
  try {
    const catalog = await context.catalog();
    const points = id === undefined ? await catalog.points() : [await catalog.point(id)];
    const targets = points.flatMap((p) =>
      (p?.copies ?? [])
        .filter((c) => (copy === undefined ? c.state === 'verified' : c.copy === copy))
        .map((c): Target => ({ pointId: c.pointId, source: p?.backup.source.name ?? '', copy: c.copy })),
    );
    if (targets.length > 0 || id === undefined) return targets;
    if (points[0]) {
      throw new Failure('CopyUnknown', `${id} is not held by ${copy ?? 'any copy'}.`, {
        next: `"backupctl backup show ${id}" names its copies.`,
      });
    }
    throw unknownPoint(
      id,
      (await catalog.points({ limit: 1000 })).map((p) => p.backup.id),
    );
  } catch (error) {
    if (!isFailure(error, 'CatalogUnreachable') || id === undefined) throw error;
    context.out.note(`! ${error.message} Looking in the stores themselves.`);
    return inStores(context, policy, id, copy);
  }
}

async function inStores(context: Context, policy: Policy, id: string, only: string | undefined): Promise<Target[]> {
  const targets: Target[] = [];
  for (const { name } of policy.copies.filter((c) => only === undefined || c.name === only)) {
    const store = await context.store(name);
    for (const source of policy.sources.filter((s) => id.startsWith(`${s.name}-`))) {
      try {
        await store.head(pointPrefix(source.name, id) + backupJsonName);
        targets.push({ pointId: id, source: source.name, copy: name });
      } catch (error) {
        if (!isFailure(error, 'ObjectMissing')) throw error;
      }
    }
  }
  if (targets.length === 0) throw unknownPoint(id, []);
  return targets;
}

function render(v: Verified, paint: Context['out']['paint']): string {
  const what = `${v.pointId} in ${v.copy}`;
  if (v.good) {
    return `${paint('green', '✓')} ${what}: ${v.objects} objects, ${v.entries} entries, ${v.blocks} blocks, ${formatBytes(v.bytes)} read and matched`;
  }
  if (v.error) return `${paint('yellow', '!')} ${what}: not verified: ${v.error.message}\n  ${v.error.next}`;
  return [
    `${paint('red', '✗')} ${what}:`,
    ...v.problems.map((p) => `    ${p}`),
    '  Use another copy of this recovery point.',
  ].join('\n');
}
