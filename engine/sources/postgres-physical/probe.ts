import type pg from 'pg';
import { Failure } from '../../../policies/failure.ts';
import type { SourceFacts } from '../../../policies/recovery-point.ts';
import { type Connection, connect } from '../postgres/connection.ts';
import { identifySystem, setting } from '../postgres/replication.ts';
import { binariesFor } from './binaries.ts';

/** BASE_BACKUP in its present form, with one stream for all archives, came with it. */
const majorMin = 15;

export interface Cluster {
  facts: SourceFacts;
  /** Mode of the data directory, e.g. 0o700. */
  mode: number;
}

/** Looks at server, rights and programs over a replication connection of its own, without reading data. */
export async function probeCluster(connection: Connection, name: string): Promise<Cluster> {
  const client = await connect(connection, name);
  try {
    return await inspectCluster(client, name);
  } finally {
    await client.end();
  }
}

/** The same over a connection that is there. */
export async function inspectCluster(client: pg.Client, name: string): Promise<Cluster> {
  const serverVersion = await setting(client, 'server_version');
  const serverMajor = Math.floor(Number(await setting(client, 'server_version_num')) / 10_000);
  if (serverMajor < majorMin) {
    throw new Failure(
      'ServerTooOld',
      `${name}: the server is PostgreSQL ${serverVersion}; physical backups need ${majorMin} or newer.`,
      { next: 'Back its databases up by kind postgres-logical, or upgrade the server.' },
    );
  }
  const { binDir } = await binariesFor(serverMajor, name);
  const walLevel = await setting(client, 'wal_level');
  if (walLevel === 'minimal') {
    throw new Failure('SourceUnreadable', `${name}: the server writes too little WAL: wal_level is ${walLevel}.`, {
      next: 'Set wal_level = replica there, and restart the server.',
    });
  }
  const { systemIdentifier, timeline, lsn } = await identifySystem(client);
  return {
    mode: Number.parseInt(await setting(client, 'data_directory_mode'), 8),
    facts: {
      serverVersion,
      serverMajor,
      systemIdentifier,
      timeline,
      lsn,
      standby: (await setting(client, 'in_hot_standby')) === 'on',
      dataChecksums: (await setting(client, 'data_checksums')) === 'on',
      pageBytes: Number(await setting(client, 'block_size')),
      walSegment: await setting(client, 'wal_segment_size'),
      programs: binDir,
    },
  };
}
