import { randomBytes } from 'node:crypto';
import { chown, mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Failure, isFailure } from '../../../policies/failure.ts';
import type { SourceFacts } from '../../../policies/recovery-point.ts';
import {
  createPostgresInstance,
  type PostgresBinaries,
  type PostgresInstance,
  runSingleUser,
  unprivilegedUser,
} from '../../sites/index.ts';
import { type Connection, connect, connectionFromUri } from '../postgres/connection.ts';
import { throwawaySettings } from '../postgres/throwaway-settings.ts';
import { ownConfiguration } from './own-configuration.ts';

/** A restored cluster in a server of its own, which nobody else can reach. */
export interface Isolated {
  /** To any of its databases, as a superuser made for this. */
  connection(database: string): Connection;
  dataDir: string;
  /** Where recovery ended. */
  recoveredTo: string;
  /** Stops the server, as cleanly as programs that read its files want it. */
  stop(): Promise<void>;
  /** Stops the server and removes all there is of it. */
  destroy(): Promise<void>;
}

export interface IsolatedOptions {
  /** The restored data directory. */
  dataDir: string;
  workDir: string;
  tools: PostgresBinaries;
  facts: SourceFacts;
  signal: AbortSignal;
}

/** The database that every cluster has. */
const anyDatabase = 'template1';
/** The databases' own settings must not stand in the way. */
export const sessionOptions = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0';

/**
 * Recovers a restored cluster and starts it under settings of our own: its configuration names folders, libraries,
 * archives and other servers that are no business of a test. Nothing of its roles and passwords need be known. Throws
 * ValidationFailed when it cannot be recovered, TargetUnusable when this host is why.
 */
export async function openIsolated({ dataDir, workDir, tools, facts, signal }: IsolatedOptions): Promise<Isolated> {
  const role = `backup_check_${randomBytes(6).toString('hex')}`;
  const password = randomBytes(18).toString('hex');
  const own = path.join(workDir, 'isolated');
  const user = await unprivilegedUser();
  const removeFiles = () => rm(own, { recursive: true, force: true });
  let instance: PostgresInstance | null = null;
  try {
    await mkdir(own, { mode: 0o700 });
    if (user) await chown(own, user.uid, user.gid);
    const access = `host all ${role} 127.0.0.1/32 scram-sha-256\n`;
    const all = { ...throwawaySettings, ...(await ownConfiguration(own, user, access)) };
    // ALTER SYSTEM's settings would come back from here, whatever the configuration file.
    const automatic = path.join(dataDir, 'postgresql.auto.conf');
    await rename(automatic, path.join(own, 'captured.auto.conf')).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    await recover({ dataDir, tools, all, role, password, facts, signal });
    instance = await createPostgresInstance({
      dataDir,
      binDir: tools.binDir,
      settings: all,
      user: role,
      password,
      database: anyDatabase,
    });
    const { uri, stop, destroy } = instance;
    const connection = (database: string): Connection => ({
      ...connectionFromUri(uri(database)),
      sslmode: 'disable',
      options: sessionOptions,
    });
    const client = await connect(connection(anyDatabase), 'isolated instance');
    try {
      const { rows } = await client.query('SELECT pg_current_wal_lsn()::text AS lsn');
      return {
        connection,
        dataDir,
        recoveredTo: rows[0].lsn,
        stop,
        destroy: async () => {
          await destroy();
          await removeFiles();
        },
      };
    } finally {
      await client.end();
    }
  } catch (error) {
    await instance?.destroy();
    await removeFiles();
    throw error;
  }
}

interface RecoverOptions extends Pick<IsolatedOptions, 'dataDir' | 'tools' | 'facts' | 'signal'> {
  all: Record<string, string>;
  role: string;
  password: string;
}

/** Recovery, and a superuser to look at the result: by single-user mode, which asks for no name and no password. */
async function recover({ dataDir, tools, all, role, password, facts, signal }: RecoverOptions): Promise<void> {
  try {
    await runSingleUser({
      binDir: tools.binDir,
      dataDir,
      settings: all,
      database: anyDatabase,
      commands: [`CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD '${password}'`],
      signal,
    });
  } catch (error) {
    if (!isFailure(error, 'TargetUnusable')) throw error;
    const fault = hostFault(error.message);
    if (fault) throw fault;
    throw new Failure('ValidationFailed', `The cluster (${facts.serverVersion}) does not recover: ${error.message}`, {
      next: 'Look at what the server says; take another backup, and restore from an earlier point meanwhile.',
      cause: error,
    });
  }
}

/** What this host lacks, and the point cannot help. */
export function hostFault(said: string): Failure | null {
  if (/No space left on device|could not (extend|resize) /.test(said)) {
    return new Failure('StagingFull', `The test restore found no space: ${said}`, {
      next: 'Free space on the staging disk, or give it more; the backup is tried again.',
    });
  }
  if (/database locale is incompatible|collation provider|locale .* not (found|recognized)/i.test(said)) {
    return new Failure('TargetUnusable', `This host lacks a locale that the cluster uses: ${said}`, {
      next: 'Install the locales of the source (on Debian: apt-get install locales-all), then run the backup again.',
    });
  }
  return null;
}
