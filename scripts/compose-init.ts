import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { stringify } from 'yaml';
import {
  generateIdentity,
  generateSigningKey,
  publicKeyOf,
  readSigningKey,
  recipientOf,
} from '../engine/artifact/index.ts';
import { storeAccesses } from '../policies/credentials.ts';
import { exists } from './stack/cache.ts';
import { newAccessKey, newSecretKey } from './stack/s3.ts';
import { newPassword } from './stack/secrets.ts';

/** Makes what docker-compose.yml mounts: secrets, each a file of mode 0600, and a policy that refers to them. */

const folder = path.resolve(process.argv[2] ?? path.join(import.meta.dirname, '..', '.data', 'compose'));

async function main(): Promise<void> {
  const policyFile = path.join(folder, 'policy.yaml');
  if (await exists(policyFile)) {
    process.stdout.write(`${policyFile} is there already; nothing was changed.\n`);
    return;
  }
  await mkdir(path.join(folder, 'secrets'), { recursive: true, mode: 0o700 });
  const identity = await generateIdentity();
  const signing = generateSigningKey();
  const secrets: Record<string, string> = {
    'postgres-password': newPassword(),
    'backup-password': newPassword(),
    'catalog-dsn': `postgresql://catalog:${newPassword()}@postgres:5432/catalog`,
    'signing-key': signing.trim(),
    'age-identity': identity,
  };
  for (const side of ['east', 'west']) {
    for (const holder of ['root', ...storeAccesses]) {
      secrets[`${side}-${holder}-access-key`] = newAccessKey();
      secrets[`${side}-${holder}-secret-key`] = newSecretKey();
    }
  }
  for (const [name, value] of Object.entries(secrets)) {
    // A secret that is there stays: data may be sealed for it already.
    await writeFile(path.join(folder, 'secrets', name), `${value}\n`, { mode: 0o600, flag: 'wx' });
  }
  const policy = policyFor({ recipient: await recipientOf(identity), trusted: publicKeyOf(readSigningKey(signing)) });
  await writeFile(policyFile, stringify(policy), { mode: 0o600 });
  process.stdout.write(`Secrets and policy are in ${folder}. Keep a copy of secrets/age-identity elsewhere.\n`);
}

/** As the containers see it: services by name, secrets where Compose mounts them. */
function policyFor({ recipient, trusted }: { recipient: string; trusted: string }): object {
  const secret = (name: string) => `file:/run/secrets/${name}`;
  const s3 = (side: string, region: string) => ({
    name: side,
    kind: 's3',
    region,
    bucket: 'backups',
    endpoint: `http://s3-${side}:7070`,
    forcePathStyle: true,
    lock: { mode: 'compliance' },
    credentials: Object.fromEntries(
      storeAccesses.map((access) => [
        access,
        {
          accessKeyId: secret(`${side}-${access}-access-key`),
          secretAccessKey: secret(`${side}-${access}-secret-key`),
        },
      ]),
    ),
  });
  const connection = { host: 'postgres', database: 'catalog', user: 'backup', password: secret('backup-password') };
  return {
    version: 1,
    site: { region: 'us-east-1' },
    temporal: { address: 'temporal:7233', namespace: 'default' },
    catalog: { dsn: secret('catalog-dsn') },
    keys: {
      recipients: [recipient],
      signing: secret('signing-key'),
      trusted: [trusted],
      identity: secret('age-identity'),
    },
    staging: { path: '/staging' },
    sources: [
      { name: 'catalog', kind: 'postgres-logical', critical: true, connection },
      { name: 'files', kind: 'files', path: '/source' },
    ],
    copies: [
      { name: 'server-disk', kind: 'directory', region: 'us-east-1', path: '/data/server-disk', pruneAfter: '7d' },
      s3('east', 'us-east-1'),
      s3('west', 'us-west-2'),
    ],
    restoreTargets: [{ host: 'postgres', user: 'postgres', password: secret('postgres-password') }],
    restoreFolders: ['/restored'],
  };
}

await main();
