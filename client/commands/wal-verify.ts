import { Failure, type FailureType, failureTypes, isFailure } from '../../policies/failure.ts';
import { formatBytes } from '../../policies/progress.ts';
import { lsnText } from '../../policies/wal.ts';
import type { Context } from '../context.ts';
import { copyPolicy, sourceNamed } from '../names.ts';
import { createProgressView } from '../progress.ts';
import { facts } from '../table.ts';

export interface WalVerifyOptions {
  source: string;
  copy?: string;
  /** Also every byte, which takes the identity. */
  read: boolean;
}

/** What one copy holds of a source's WAL. */
interface Verified {
  copy: string;
  ranges: number;
  bytes: number;
  /** What is there, of each timeline, gaps left out. */
  timelines: { timeline: number; from: string; to: string; until: string }[];
  gaps: { timeline: number; from: string; to: string }[];
  problems: string[];
  /** Why it could not be looked at; null when it could. */
  error: { type: FailureType; message: string; next: string } | null;
}

/**
 * Looks whether the WAL of a source is whole in its copies. Ends with 6 when anything is missing or damaged, with the
 * failure's own code when a copy could not be looked at.
 */
export async function walVerify(context: Context, options: WalVerifyOptions): Promise<number | undefined> {
  const policy = await context.policy();
  const source = sourceNamed(policy, options.source);
  if (source.kind !== 'postgres-physical') {
    throw new Failure('UsageInvalid', `${source.name} is a ${source.kind} source, which has no WAL of its own.`, {
      next: 'Name a source of kind postgres-physical.',
    });
  }
  const copies = options.copy === undefined ? policy.copies : [copyPolicy(policy, options.copy)];
  const identity = options.read ? await context.secret(policy.keys.identity) : undefined;
  const verified: Verified[] = [];
  const { out } = context;
  const view = createProgressView(out);
  try {
    for (const copy of copies) {
      verified.push(
        await verifyCopy(
          context,
          { source: source.name, copy: copy.name, trusted: policy.keys.trusted, identity },
          (done, of) => {
            if (out.live)
              view.show(`verifying the WAL of ${source.name} in ${copy.name}`, [
                { name: 'ranges', bytesDone: done, bytesTotal: of, entriesDone: done },
              ]);
          },
        ),
      );
    }
  } finally {
    view.end();
  }
  out.result({ source: source.name, verified }, () => verified.map((v) => render(v, out.paint)).join('\n\n'));
  if (verified.some((v) => v.problems.length + v.gaps.length > 0)) return failureTypes.Corrupt.exitCode;
  const failed = verified.find((v) => v.error !== null)?.error;
  return failed ? failureTypes[failed.type].exitCode : undefined;
}

async function verifyCopy(
  context: Context,
  {
    source,
    copy,
    trusted,
    identity,
  }: { source: string; copy: string; trusted: string[]; identity: string | undefined },
  onProgress: (done: number, of: number) => void,
): Promise<Verified> {
  const { verifyWal } = await import('../../engine/sources/wal/index.ts');
  const found: Verified = { copy, ranges: 0, bytes: 0, timelines: [], gaps: [], problems: [], error: null };
  try {
    const report = await verifyWal({
      store: await context.store(copy),
      source,
      trusted,
      onProgress,
      ...(identity === undefined ? {} : { identity }),
      ...(context.signal ? { signal: context.signal } : {}),
    });
    return {
      ...found,
      ranges: report.ranges,
      bytes: report.bytes,
      timelines: report.held.map((r) => ({
        timeline: r.timeline,
        from: lsnText(r.start),
        to: lsnText(r.end),
        until: r.until,
      })),
      gaps: report.gaps.map((g) => ({ timeline: g.timeline, from: lsnText(g.from), to: lsnText(g.to) })),
      problems: report.problems,
    };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { ...found, error: { type: error.type, message: error.message, next: error.next } };
  }
}

function render(v: Verified, paint: Context['out']['paint']): string {
  if (v.error) return `${paint('red', '✗')} ${v.copy}: ${v.error.message}\n    → ${v.error.next}`;
  const isWhole = v.gaps.length + v.problems.length === 0;
  const mark = v.ranges === 0 ? paint('yellow', '!') : isWhole ? paint('green', '✓') : paint('red', '✗');
  return [
    `${mark} ${v.copy}: ${v.ranges === 0 ? 'no WAL' : `${v.ranges.toLocaleString('en-US')} ranges, ${formatBytes(v.bytes)}`}`,
    ...(v.timelines.length > 0
      ? [facts(v.timelines.map((t) => [`    timeline ${t.timeline}`, `${t.from} to ${t.to}, until ${t.until}`]))]
      : []),
    ...v.gaps.map((g) => `    missing: ${g.from} to ${g.to} of timeline ${g.timeline}`),
    ...v.problems.map((p) => `    ${p}`),
  ].join('\n');
}
