import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../engine/artifact/index.ts';
import { loadPolicy, readPolicyText } from '../engine/config/index.ts';
import { type StoreAccess, storeAccesses } from '../policies/credentials.ts';
import { readPolicy } from '../policies/parse.ts';
import type { Policy } from '../policies/policy.ts';
import { sampleDatabase } from './sample-data.ts';
import { newPassword, secretFile, secretOnce, writeSecret } from './stack/secrets.ts';
import type { StackS3 } from './stack/stack.ts';
import type { RunningTemporal } from './stack/types.ts';

export interface EmbeddedPlaces {
  dataDir: string;
  temporal: Pick<RunningTemporal, 'address' | 'namespace'>;
  postgres: { host: string; port: number; user: string };
  east: StackS3;
  west: StackS3;
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
  const secret = (name: string) => secretFile(dataDir, name);
  const signing = await secretOnce(dataDir, 'signing-key.pem', generateSigningKey);
  const identity = await secretOnce(dataDir, 'age-identity', generateIdentity);
  const { catalog } = await loginPasswords(dataDir);
  const { host, port, user } = postgres;
  await writeSecret(dataDir, 'catalog-dsn', `postgresql://catalog:${catalog}@${host}:${port}/catalog`);
  for (const folder of ['staging', 'server-disk'])
    await mkdir(path.join(dataDir, folder), { recursive: true, mode: 0o711 });

  const keyPair = (side: string, access: StoreAccess) => ({
    accessKeyId: `file:${secret(`${side}-${access}-access-key`)}`,
    secretAccessKey: `file:${secret(`${side}-${access}-secret-key`)}`,
  });
  const s3 = (name: string, server: StackS3, side: 'east' | 'west') => ({
    name,
    kind: 's3',
    region: server.region,
    bucket: places.bucket,
    endpoint: server.endpoint,
    forcePathStyle: true,
    credentials: Object.fromEntries(storeAccesses.map((access) => [access, keyPair(side, access)])),
    lock: { mode: 'compliance' },
  });
  const samples = [
    {
      name: 'sample-shop',
      kind: 'postgres-logical',
      critical: true,
      connection: {
        host,
        port,
        database: sampleDatabase,
        user: 'backup',
        password: `file:${secret('backup-password')}`,
      },
    },
    {
      name: 'sample-cluster',
      kind: 'postgres-physical',
      connection: { host, port, user: 'backup', password: `file:${secret('backup-password')}` },
      wal: {},
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
    restoreTargets: [{ host, port, user, password: `file:${secret('postgres-password')}` }],
    restoreFolders: [path.join(dataDir, 'restored')],
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
  const own = places.userPolicy ? await readUserPolicy(places.userPolicy, embedded) : {};
  const isSample = !Array.isArray(own.sources) || own.sources.length === 0;
  const merged = { ...embedded, ...own, ...(isSample ? { sources: samples } : {}) };
  const file = path.join(dataDir, 'policy.yaml');
  await writeFile(
    file,
    `# Written by npm start; changes here are lost. Give your own with: npm start -- --policy FILE\n${stringify(merged)}`,
    { mode: 0o600 },
  );
  return { file, policy: await loadPolicy(file), isSample };
}

/** Of the logins that the workers have at the stack's PostgreSQL; made the first time. */
export async function loginPasswords(dataDir: string): Promise<{ backup: string; catalog: string }> {
  return {
    backup: await secretOnce(dataDir, 'backup-password', newPassword),
    catalog: await secretOnce(dataDir, 'catalog-password', newPassword),
  };
}

/** The user's keys, once they have been found to be right together with ours. Throws PolicyInvalid with their places. */
async function readUserPolicy(file: string, ours: Record<string, unknown>): Promise<Record<string, unknown>> {
  const text = await readPolicyText(file);
  readPolicy(text, file, ours);
  return parse(text) ?? {};
}
