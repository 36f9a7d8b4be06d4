import { access, chown, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import { lsnText, parseSegmentName } from '../../../policies/wal.ts';
import type { RecoveryPlan } from '../../../policies/wal-plan.ts';
import type { PointReader } from '../../artifact/index.ts';
import { type PostgresBinaries, runSingleUser, type UnprivilegedUser, unprivilegedUser } from '../../sites/index.ts';
import { binariesFor } from '../postgres-physical/binaries.ts';
import { hostFault } from '../postgres-physical/isolated.ts';
import { ownConfiguration } from '../postgres-physical/own-configuration.ts';
import { restoreCluster } from '../postgres-physical/restore.ts';
import type { RestoreOptions, RestoreResult } from '../source.ts';
import { createWalFetcher } from './fetch.ts';
import type { PlannedRecovery } from './plan.ts';
import { serveWal } from './serve.ts';

export interface RecoverOptions extends RestoreOptions {
  planned: PlannedRecovery;
  /** Public keys whose signature counts. */
  trusted: string[];
  /** age identity. */
  identity: string;
}

const settings = {
  wal_level: 'replica',
  recovery_target_action: 'promote',
  recovery_target_inclusive: 'on',
};
const anyDatabase = 'template1';

/**
 * Restores a base backup and recovers it to the moment that was planned, in the folder that becomes the data directory.
 * What is left there is a cluster that was shut down cleanly, on a timeline of its own, ready to be started by whoever
 * owns it. What was written is removed when that moment cannot be reached. Throws PointUnknown, TargetNotEmpty,
 * TargetUnusable, Corrupt.
 */
export async function recoverCluster(point: PointReader, options: RecoverOptions): Promise<RestoreResult> {
  const { facts, id } = point.backup;
  const tools = await binariesFor(Number(facts.serverMajor), `The cluster of ${id}`);
  return restoreCluster(point, options, {
    complete: async (restored) => ({ ...restored, recovered: outcome(await recover(point, tools, options)) }),
  });
}

/** Recovery in the restored folder. Returns what the server said. */
async function recover(
  { store, backup }: PointReader,
  { binDir }: PostgresBinaries,
  { into, planned, trusted, identity, signal }: RecoverOptions,
): Promise<string> {
  const { plan, contents, segmentBytes } = planned;
  const dataDir = path.resolve(into);
  const fetchDir = path.join(dataDir, 'wal-fetch');
  const owner = await unprivilegedUser();
  const reading = { store, source: backup.source.name, trusted, signal };
  const serving = await serveWal({
    fetcher: createWalFetcher({ ...reading, identity, contents, segmentBytes }),
    dir: fetchDir,
    owner,
    segmentBytes,
    hasBetter: async (name, covered) => {
      const segment = parseSegmentName(name, segmentBytes);
      // What came along with the base backup is good up to its end.
      return segment !== null && segment.start + BigInt(covered) < plan.base.end && (await exists(dataDir, name));
    },
    signal,
  });
  const failed = new AbortController();
  serving.failed.catch(() => failed.abort());
  try {
    await makeSignal(path.join(dataDir, 'recovery.signal'), owner);
    // It may hold targets of its own, and settings for another machine; it goes back to its place afterwards.
    const automatic = path.join(dataDir, 'postgresql.auto.conf');
    const aside = path.join(fetchDir, 'captured.auto.conf');
    await renameIfThere(automatic, aside);
    const said = await runSingleUser({
      binDir,
      dataDir,
      settings: {
        ...settings,
        ...(await ownConfiguration(fetchDir, owner)),
        ...(plan.stop ? { [plan.stop.setting]: settingOf(plan.stop) } : {}),
        recovery_target_timeline: String(plan.timeline),
        restore_command: serving.command,
      },
      database: anyDatabase,
      commands: [],
      signal: AbortSignal.any([signal, failed.signal]),
    });
    await renameIfThere(aside, automatic);
    return said;
  } catch (error) {
    signal.throwIfAborted();
    // What the server was never told.
    if (failed.signal.aborted) await serving.failed;
    throw asRefusal(error, planned);
  } finally {
    await serving.close();
  }
}

/** A server that is only starting knows no names of time zones, not even Z. */
function settingOf({ setting, value }: NonNullable<RecoveryPlan['stop']>): string {
  return setting === 'recovery_target_time' ? value.replace('T', ' ').replace('Z', '+00') : value;
}

async function makeSignal(file: string, owner: UnprivilegedUser | null): Promise<void> {
  await writeFile(file, '', { mode: 0o600 });
  if (owner) await chown(file, owner.uid, owner.gid);
}

async function renameIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

function exists(dataDir: string, segment: string): Promise<boolean> {
  return access(path.join(dataDir, 'pg_wal', segment)).then(
    () => true,
    () => false,
  );
}

/** What the server said of where recovery ended; it was told to say it in English, and in UTC. */
function outcome(said: string): NonNullable<RestoreResult['recovered']> {
  const last = /last completed transaction was at log time (\S+ \S+)/.exec(said)?.[1];
  return {
    timeline: Number(/selected new timeline ID: (\d+)/.exec(said)?.[1] ?? 0),
    lsn: /redo done at ([0-9A-F]+\/[0-9A-F]+)/.exec(said)?.[1] ?? '',
    lastTransactionAt: last === undefined ? null : serverTime(last),
  };
}

/** `2026-11-24 21:24:21.470975+00` */
function serverTime(text: string): string {
  return new Date(`${text.replace(' ', 'T').replace(/\+00$/, 'Z')}`).toISOString();
}

/** The server's own word that the moment does not come. */
function asRefusal(error: unknown, { plan }: PlannedRecovery): unknown {
  if (!isFailure(error, 'TargetUnusable')) return error;
  const said = String(error.details.said ?? error.message);
  const last = /last completed transaction was at log time (\S+ \S+)/.exec(said)?.[1];
  if (/recovery ended before configured recovery target was reached/.test(said)) {
    return new Failure(
      'PointUnknown',
      `${wordsOf(plan)} does not come before the end of the archive on timeline ${plan.timeline}.`,
      {
        next: `The nearest that can be reached is ${last ? serverTime(last) : plan.reach.until}, at ${lsnText(plan.reach.lsn)}.`,
        cause: error,
      },
    );
  }
  if (/requested recovery stop point is before consistent recovery point/.test(said)) {
    return new Failure('PointUnknown', `${wordsOf(plan)} lies before ${plan.base.id} is consistent.`, {
      next: `The nearest that can be reached from it is ${plan.base.consistentAt}; or begin with an earlier point.`,
      cause: error,
    });
  }
  return hostFault(said) ?? error;
}

function wordsOf({ stop }: RecoveryPlan): string {
  switch (stop?.setting) {
    case 'recovery_target_time':
      return stop.value;
    case 'recovery_target_lsn':
      return `Position ${stop.value}`;
    case 'recovery_target_xid':
      return `The end of transaction ${stop.value}`;
    default:
      return 'The end of the archive';
  }
}
