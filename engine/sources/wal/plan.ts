import { Failure } from '../../../policies/failure.ts';
import type { SealedPoint } from '../../../policies/recovery-point.ts';
import { type BasePoint, lsnOf } from '../../../policies/wal.ts';
import type { WalRangeHeader } from '../../../policies/wal-bundle.ts';
import {
  type ArchiveView,
  type Happenings,
  planRecovery,
  type RecoveryPlan,
  type RecoveryTarget,
  rangesOnWay,
} from '../../../policies/wal-plan.ts';
import { readWalHeader } from '../../artifact/index.ts';
import { type ContentsOptions, listWal, type WalContents } from './contents.ts';

/** A physical recovery point as a beginning for recovery; null for any other point. */
export function basePointOf({ id, source, capturedAt, facts }: SealedPoint): BasePoint | null {
  const { timeline, startLsn, endLsn, stoppedAt } = facts;
  if (source.kind !== 'postgres-physical' || typeof startLsn !== 'string' || typeof endLsn !== 'string') return null;
  const iso = (text: string) => new Date(text).toISOString();
  return {
    id,
    timeline: Number(timeline),
    start: lsnOf(startLsn),
    end: lsnOf(endLsn),
    capturedAt: iso(capturedAt),
    consistentAt: iso(String(stoppedAt ?? capturedAt)),
  };
}

export interface PlanOptions extends ContentsOptions {
  /** The source's physical points, as far as they lie in this store. */
  points: SealedPoint[];
  target: RecoveryTarget;
  /** To be followed; absent: the newest. */
  timeline?: number;
}

export interface PlannedRecovery {
  plan: RecoveryPlan;
  contents: WalContents;
  segmentBytes: number;
}

const ahead = 8;
const segmentBytesUsual = 16 * 1024 * 1024;

/**
 * Looks into a store for how to come back to a moment: the base backup, and where to stop. Throws PointUnknown when the
 * moment cannot be reached, naming the nearest that can.
 */
export async function planPointInTime(options: PlanOptions): Promise<PlannedRecovery> {
  const { points, target, timeline } = options;
  const contents = await listWal(options);
  const happenings = new Map<string, Happenings>();
  const view: ArchiveView = { ...contents, bases: points.flatMap((p) => basePointOf(p) ?? []), happenings };
  // Refuses by names and positions alone what can be refused by them.
  const first = planRecovery(
    view,
    target.kind === 'name' || target.kind === 'xid' ? { kind: 'latest' } : target,
    timeline,
  );
  const headers = createHeaders(options);
  const any = contents.ranges[0];
  const segmentBytes = any ? await assertSameCluster(await headers(any.key), points, first) : segmentBytesUsual;
  const note = async (key: string) => {
    const { transactions, restorePoints } = await headers(key);
    const found = { transactions, restorePoints: restorePoints.map((p) => ({ ...p, lsn: lsnOf(p.lsn) })) };
    happenings.set(key, found);
    return found;
  };
  if (target.kind === 'time') {
    // Whether anything ended later: the first range that says so will do.
    const at = new Date(target.at).toISOString();
    const way = rangesOnWay(view, first, first.timeline);
    const from = Math.max(
      0,
      way.findIndex((r) => r.until > at),
    );
    for (const range of way.slice(0, from)) happenings.set(range.key, nothing);
    for (const range of way.slice(Math.max(0, from - 1))) {
      const { lastAt } = (await note(range.key)).transactions;
      if (lastAt !== null && lastAt > at) break;
    }
  } else if (target.kind === 'name' || target.kind === 'xid') {
    const way = rangesOnWay(view, null, first.timeline);
    for (let at = 0; at < way.length; at += ahead) {
      await Promise.all(way.slice(at, at + ahead).map((range) => note(range.key)));
    }
  }
  return { plan: planRecovery(view, target, timeline), contents, segmentBytes };
}

/** Of ranges that end before the moment asked for. */
const nothing: Happenings = { transactions: { count: 0, lastAt: null, xids: null }, restorePoints: [] };

function createHeaders(options: ContentsOptions): (key: string) => Promise<WalRangeHeader> {
  const known = new Map<string, Promise<WalRangeHeader>>();
  const read = async (key: string): Promise<WalRangeHeader> => {
    const { header } = await readWalHeader({ ...options, key });
    if (header.kind === 'range') return header;
    throw new Failure('Corrupt', `${key} is damaged: it is no range.`, { next: 'Use another copy of it.' });
  };
  return (key) => {
    const header = known.get(key) ?? read(key);
    known.set(key, header);
    return header;
  };
}

async function assertSameCluster(
  header: WalRangeHeader,
  points: SealedPoint[],
  { base }: RecoveryPlan,
): Promise<number> {
  const facts = points.find((p) => p.id === base.id)?.facts ?? {};
  if (header.systemIdentifier === facts.systemIdentifier) return header.segmentBytes;
  throw new Failure(
    'PointUnknown',
    `The archived WAL is that of the cluster ${header.systemIdentifier}, ${base.id} is of ${facts.systemIdentifier}.`,
    { next: 'Restore the point as it is, without a moment to come back to.' },
  );
}
