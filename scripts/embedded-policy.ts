import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../engine/artifact/index.ts';
import { loadPolicy } from '../engine/config/index.ts';
import { Failure } from '../policies/failure.ts';
import type { Policy } from '../policies/policy.ts';
import { sampleDatabase } from './sample-data.ts';
import type { RunningS3, RunningTemporal } from './stack/types.ts';

export interface EmbeddedPlaces {
  dataDir: string;
  temporal: Pick<RunningTemporal, 'address' | 'namespace'>;
  postgres: { host: string; port: number; user: string; password: string };
  catalogDatabase: string;
  east: RunningS3;
  west: RunningS3;
  bucket: string;
  /** A policy file of the user's; its top-level keys take the place of ours. */
  userPolicy?: string;
}

export interface EmbeddedPolicy {
  file: string;
  policy: Policy;
  /** The sources are our own samples, for the user named none. */
  isSample: boolean;
}

/**
 * Writes `DATA/policy.yaml` for the embedded stack: where everything listens now, references to secrets (files of mode
 * 0600 in `DATA/secrets`, made once), and the user's own sources, or the samples when there are none.
 */
export async function writeEmbeddedPolicy(places: EmbeddedPlaces): Promise<EmbeddedPolicy> {
  const { dataDir, postgres, east, west } = places;
  const secret = (name: string) => path.join(dataDir, 'secrets', name);
  await mkdir(path.join(dataDir, 'secrets'), { recursive: true, mode: 0o700 });
  const signing = await onceSecret(secret('signing-key.pem'), async () => generateSigningKey());
  const identity = await onceSecret(secret('age-identity'), generateIdentity);
  const password = encodeURIComponent(postgres.password);
  const files: Record<string, string> = {
    'postgres-password': postgres.password,
    'catalog-dsn': `postgresql://${postgres.user}:${password}@${postgres.host}:${postgres.port}/${places.catalogDatabase}`,
    'east-access-key': east.accessKeyId,
    'east-secret-key': east.secretAccessKey,
    'west-access-key': west.accessKeyId,
    'west-secret-key': west.secretAccessKey,
  };
  for (const [name, value] of Object.entries(files)) await writeFile(secret(name), `${value}\n`, { mode: 0o600 });
  for (const folder of ['staging', 'server-disk'])
    await mkdir(path.join(dataDir, folder), { recursive: true, mode: 0o711 });

  const s3 = (name: string, server: RunningS3, side: 'east' | 'west') => ({
    name,
    kind: 's3',
    region: server.region,
    bucket: places.bucket,
    endpoint: server.endpoint,
    forcePathStyle: true,
    accessKeyId: `file:${secret(`${side}-access-key`)}`,
    secretAccessKey: `file:${secret(`${side}-secret-key`)}`,
  });
  const samples = [
    {
      name: 'sample-shop',
      kind: 'postgres-logical',
      critical: true,
      connection: {
        host: postgres.host,
        port: postgres.port,
        database: sampleDatabase,
        user: postgres.user,
        password: `file:${secret('postgres-password')}`,
      },
    },
    { name: 'sample-files', kind: 'files', path: path.join(dataDir, 'sample-files') },
  ];
  const embedded = {
    version: 1,
    site: { region: east.region },
    temporal: { address: places.temporal.address, namespace: places.temporal.namespace },
    catalog: { dsn: `file:${secret('catalog-dsn')}` },
    keys: {
      recipients: [await recipientOf(identity)],
      signing: `file:${secret('signing-key.pem')}`,
      trusted: [publicKeyOf(readSigningKey(signing))],
      identity: `file:${secret('age-identity')}`,
    },
    staging: { path: path.join(dataDir, 'staging') },
    sources: samples,
    copies: [
      {
        name: 'server-disk',
        kind: 'directory',
        region: east.region,
        path: path.join(dataDir, 'server-disk'),
        pruneAfter: '7d',
      },
      s3('s3-east', east, 'east'),
      s3('s3-west', west, 'west'),
    ],
  };
  const own = places.userPolicy ? await readUserPolicy(places.userPolicy) : {};
  const isSample = !Array.isArray(own.sources) || own.sources.length === 0;
  const merged = { ...embedded, ...own, ...(isSample ? { sources: samples } : {}) };
  const file = path.join(dataDir, 'policy.yaml');
  await writeFile(
    file,
    `# Written by npm start; changes here are lost. Give your own with: npm start -- --policy FILE\n${stringify(merged)}`,
    {
      mode: 0o600,
    },
  );
  return { file, policy: await loadPolicy(file), isSample };
}

async function readUserPolicy(file: string): Promise<Record<string, unknown>> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Failure('PolicyInvalid', `The policy file ${file} cannot be read (${error.code}).`, {
      next: 'Name another one with --policy FILE.',
    });
  });
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (error) {
    throw new Failure('PolicyInvalid', `${file}: ${(error as Error).message}`, {
      next: 'Correct the place that is named.',
    });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Failure('PolicyInvalid', `${file}: expected keys such as "sources:".`, {
    next: 'policies/default.yaml explains every key.',
  });
}

/** The secret in the file, made the first time. */
async function onceSecret(file: string, make: () => Promise<string>): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const made = (await make()).trim();
  await writeFile(file, `${made}\n`, { mode: 0o600, flag: 'wx' });
  return made;
}
