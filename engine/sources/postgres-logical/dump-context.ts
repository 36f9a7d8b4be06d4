import type { PostgresLogicalSource } from '../../../policies/policy.ts';
import type { Connection } from '../postgres/connection.ts';
import type { ProbeResult } from './probe.ts';
import type { Snapshot } from './snapshot.ts';

/** Names within the artifact. */
export const dumpPart = 'database.dump';
export const dumpFolder = 'database.dir';
export const globalsPart = 'globals.sql';
export const fingerprintPart = 'fingerprint.json';

/** What both formats need. */
export interface DumpContext {
  policy: PostgresLogicalSource;
  connection: Connection;
  probed: ProbeResult;
  snapshot: Snapshot;
  signal: AbortSignal;
}

/** The arguments that both formats share. */
export function dumpArguments(snapshot: Snapshot): string[] {
  return ['--compress=0', `--snapshot=${snapshot.id}`, '--no-password', '--lock-wait-timeout=60s'];
}
