import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPostgresInstance } from '../../engine/sites/index.ts';
import { findPostgres } from '../../scripts/stack/find.ts';
import { startS3 } from '../../scripts/stack/s3.ts';
import { startTemporal } from '../../scripts/stack/temporal.ts';
import { keepForTeardown, stopAll } from './global-state.ts';
import { type Services, servicesVariable } from './shared.ts';

/** Starts the shared servers of the integration project, once per run. They are killed with Jest, however it ends. */
export default async function setup(): Promise<void> {
  try {
    await startAll();
  } catch (error) {
    // Jest runs no teardown when setup has failed.
    await stopAll();
    throw error;
  }
}

async function startAll(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'backup-coordinator-test-'));
  keepForTeardown({ stop: () => rm(folder, { recursive: true, force: true }) });
  const password = randomBytes(12).toString('hex');
  const { binDir } = await findPostgres();
  const settings = { fsync: 'off', max_connections: '200' };
  const [postgres, east, west, temporal] = await Promise.all([
    createPostgresInstance({ dataDir: path.join(folder, 'postgres'), binDir, password, settings }).then(
      keepForTeardown,
    ),
    startS3({ dir: path.join(folder, 's3-east'), region: 'us-east-1' }).then(keepForTeardown),
    startS3({ dir: path.join(folder, 's3-west'), region: 'us-west-2' }).then(keepForTeardown),
    startTemporal({ dbFile: path.join(folder, 'temporal.db') }).then(keepForTeardown),
  ]);
  const pick = ({ endpoint, region, accessKeyId, secretAccessKey }: typeof east) => ({
    endpoint,
    region,
    accessKeyId,
    secretAccessKey,
  });
  const services: Services = {
    folder,
    postgres: { host: postgres.host, port: postgres.port, user: postgres.user, password, binDir },
    s3: { east: pick(east), west: pick(west) },
    temporal: { address: temporal.address, namespace: temporal.namespace },
  };
  process.env[servicesVariable] = JSON.stringify(services);
}
