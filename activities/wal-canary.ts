import { setTimeout } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import { connect } from '../engine/sources/postgres/connection.ts';
import { keepCanaries, readCanaries, readShipped, writeCanary } from '../engine/sources/wal/index.ts';
import { measureRpo, withShipped, withWritten } from '../policies/canary.ts';
import { durationSeconds } from '../policies/duration.ts';
import type { PostgresPhysicalSource } from '../policies/policy.ts';
import type { WalPolicy } from '../policies/wal-policy.ts';
import type { WalBeat } from '../workflows/contracts.ts';

export interface CanaryOptions {
  cluster: PostgresPhysicalSource & { wal: WalPolicy };
  /** walStaging() of the source. */
  root: string;
  resolveSecret(ref: string): Promise<string>;
  /** The timeline that is being archived; null while that is not known. */
  timeline(): number | null;
  /** Told whenever the measure may have changed. */
  onMeasured(canary: NonNullable<WalBeat['canary']>): void;
  until: AbortSignal;
}

const lookEveryMs = 1_000;

/**
 * Writes the canary of a source again and again, and measures how long each takes until all copies have it. Where it
 * cannot be written, that is told; archiving does not depend on it.
 */
export async function keepCanary(options: CanaryOptions): Promise<void> {
  const { cluster, root, until, onMeasured } = options;
  const policy = cluster.wal.canary;
  if (!policy) return;
  const everyMs = durationSeconds(policy.every) * 1000;
  let known = await readCanaries(root);
  let error: string | null = null;
  let nextAt = performance.now();
  while (!until.aborted) {
    const timeline = options.timeline();
    if (timeline !== null && performance.now() >= nextAt) {
      nextAt = performance.now() + everyMs;
      try {
        const written = await write(options, policy);
        error = written ? null : 'the server is a standby: rows are written on its primary only';
        if (written) known = withWritten(known, { ...written, timeline, writtenAt: new Date().toISOString() });
      } catch (failed) {
        error = (failed as Error).message;
        log.warn('the canary could not be written', { source: cluster.name, error });
      }
    }
    const shipped = await readShipped(root);
    if (shipped) known = withShipped(known, shipped);
    await keepCanaries(root, known);
    onMeasured({ ...measureRpo(known, new Date().toISOString()), error });
    await setTimeout(lookEveryMs, undefined, { signal: until }).catch((failed: unknown) => {
      if (!until.aborted) throw failed;
    });
  }
}

async function write({ cluster, resolveSecret }: CanaryOptions, policy: NonNullable<WalPolicy['canary']>) {
  const { user, password, ...server } = cluster.connection;
  const secret = policy.password ?? password;
  const client = await connect(
    {
      ...server,
      database: policy.database,
      user: policy.user ?? user,
      ...(secret === undefined ? {} : { password: await resolveSecret(secret) }),
    },
    cluster.name,
  );
  try {
    return await writeCanary(client, cluster.name);
  } finally {
    await client.end();
  }
}
